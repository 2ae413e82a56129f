//! The contract for scripts: names and flags that outside checks call exactly so.

use super::{Command, Hoheit, cli};
use clap::{CommandFactory, Parser};

fn parse(line: &str) -> Result<Command, clap::Error> {
    Hoheit::try_parse_from(line.split(' ')).map(|hoheit| hoheit.command)
}

const TEN: &str = "ten_00000000000000000000000007";
const PRJ: &str = "prj_00000000000000000000000007";
const RCP: &str = "rcp_00000000000000000000000007";

#[test]
fn the_command_line_is_well_formed() {
    Hoheit::command().debug_assert();
}

#[test]
fn the_contract_for_scripts_parses() {
    for line in [
        "hoheit up --data DIR --listen 127.0.0.1:8080",
        "hoheit up --data DIR --listen 127.0.0.1:0 --model PATH",
        "hoheit up --data DIR --no-model --site muc1 --country DE --operator Muster --log-format json",
        "hoheit tenant create NAME --json",
        &format!("hoheit project create NAME --tenant {TEN} --json"),
        &format!("hoheit project create NAME --tenant {TEN} --class internal --budget-eur 5.00 --country DE --json"),
        &format!("hoheit key create --project {PRJ} --json"),
        &format!("hoheit key create --project {PRJ} --budget-eur 1.00 --rpm 60 --tpm 1000 --json"),
        "hoheit engine add http://127.0.0.1:1 --model m --country DE --operator o --provider p --jurisdiction DE --json",
        "hoheit engine add http://127.0.0.1:1 --model m --country DE --operator o --provider p --jurisdiction DE \
         --retention none --json",
        "hoheit engine add http://127.0.0.1:1 --model m --country DE --operator o --provider p --jurisdiction DE \
         --slots 64 --json",
        "hoheit site check FILE --json",
        "hoheit site plan FILE --hall h1 --json",
        "hoheit twin overload --json",
        &format!("hoheit receipt get {RCP} --out FILE"),
        &format!("hoheit receipt get {RCP} --out FILE --wait"),
        &format!("hoheit receipt export --tenant {TEN} --out DIR"),
        "hoheit twin replay TRACE --replicas 8 --speedup 4 --policy round-robin --gateways 8 --json",
        "hoheit twin replay TRACE --policy least-loaded",
        "hoheit twin replay TRACE --policy prefix",
        "hoheit site check FILE --json",
        "hoheit site plan FILE --hall h1 --json",
        "hoheit site apply FILE --serials FILE --dry-run --json",
        "hoheit site show --json",
        "hoheit machine list --state powered --held --json",
        "hoheit machine show h1/r01/k01/u01 --json",
        "hoheit machine release h1/r01/k01/u01 --reason why",
        "hoheit machine repair h1/r01/k01/u01 --about gpu3 --reason why",
        "hoheit machine bmc set --file bmcs.csv",
        "hoheit machine bmc set h1/r01/k01/u01 https://10.8.3.21 --user a --password-file FILE --pin HEX",
        "hoheit machine token h1/r01/k01/u01 --json",
        "hoheit machine certificate h1/r01/k01/u01 --out DIR --wait",
        "hoheit machine discover https://10.0.3.7 --password-file FILE --trust-anything --json",
        "hoheit order list --state held --json",
        "hoheit task list --state held --json",
        "hoheit task done h1/r01/k01/u01 --scan S --photo A --photo B --torque 5.1 --label L --json",
        "hoheit task fail h1/r01/k01/u01 --reason why --retry",
        "hoheit fleet status --json",
        "hoheit fleet events --follow --after 7 --json",
        "hoheit fleet watch",
        "hoheit broker register btp --subaccount a --subaccount b --signature off --json",
        "hoheit broker register btp --any-subaccount --signature required --signature-key FILE --successor-key FILE",
        "hoheit broker register cf --any-subaccount --tenant-key organization_guid --plan inference-shared --signature off \
         --tenant-budget-eur 100.00 --certificate-subject CN=a,O=b",
        "hoheit broker list --json",
        "hoheit broker update brk_00000000000000000000000007 --signature-key FILE --json",
        "hoheit broker instances brk_00000000000000000000000007 --json",
        "hoheit broker operations --json",
        "hoheit broker fulfil op_00000000000000000000000007 --reason why",
        "hoheit broker refuse op_00000000000000000000000007 --reason why",
    ] {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Err(error) = parse(&line) {
            panic!("{line}\n{error}");
        }
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for line in [
        "hoheit",
        "hoheit up",
        "hoheit up --data DIR --model M --no-model",
        "hoheit up --data DIR --listen nowhere",
        "hoheit project create NAME --tenant ten_7 --json",
        &format!("hoheit project create NAME --tenant {TEN} --class geheim"),
        &format!("hoheit project create NAME --tenant {TEN} --budget-eur -1"),
        &format!("hoheit project create NAME --tenant {TEN} --budget-eur 0.0000001"),
        &format!("hoheit project create NAME --tenant {TEN} --country Germany"),
        "hoheit engine add http://127.0.0.1:1 --model m",
        "hoheit budget set 5",
        &format!("hoheit budget set --tenant {TEN} --project {PRJ} 5"),
        "hoheit policy explain",
        "hoheit receipt get x --out FILE",
        "hoheit twin replay",
        "hoheit twin replay TRACE --policy random",
        "hoheit twin replay TRACE --generate chats",
        "hoheit machine list --state broken",
        "hoheit machine release h1/r01/k01/u01",
        "hoheit machine bmc set",
        "hoheit machine bmc set h1/r01/k01/u01",
        "hoheit machine bmc set h1/r01/k01/u01 https://a",
        "hoheit machine bmc set h1/r01/k01/u01 https://a --password-file FILE --file bmcs.csv",
        "hoheit order show h1/r01/k01/u01",
        "hoheit order cancel ord_00000000000000000000000007",
        "hoheit broker register btp --signature off",
        "hoheit broker register btp --any-subaccount --subaccount a --signature off",
        "hoheit broker register btp --any-subaccount",
        "hoheit broker fulfil op_00000000000000000000000007",
        "hoheit up --data DIR --public-url ai.example",
        "hoheit up --data DIR --public-url https://ai.example/path",
        "hoheit task skip tsk_00000000000000000000000007",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn a_whole_api_key_can_be_explained() {
    let key = format!("hk_00000000000000000000000007_{}", "0".repeat(52));
    let parsed = parse(&format!("hoheit policy explain --key {key} --class secret")).unwrap();
    let Command::Client(cli::Command::Policy(policy)) = parsed else { panic!("not policy") };
    assert!(format!("{policy:?}").contains("key_00000000000000000000000007"));
}

/// Every command that a person can type has examples in its help.
#[test]
fn every_help_has_examples() {
    fn walk(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        if path != " hoheit" {
            assert!(help.contains("Examples:"), "{path} --help shows no example");
        }
        let shown = |sub: &&clap::Command| sub.get_name() != "help" && !sub.is_hide_set();
        command.get_subcommands().filter(shown).for_each(|sub| walk(sub, &path));
    }
    walk(&Hoheit::command(), "");
}
