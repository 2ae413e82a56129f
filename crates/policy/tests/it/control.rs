//! Roles by actions as a table of ticks (`INSTA_UPDATE=always` writes it anew).

use policy::control::{Action, Binding, Role, may};
use std::fmt::Write;

#[test]
fn roles_by_actions() {
    let mut table = format!("{:<16}", "");
    Role::ALL.iter().for_each(|role| write!(table, " {role}").unwrap());
    table.push('\n');
    for action in Action::ALL {
        let mut line = format!("{:<16}", action.as_str());
        for role in Role::ALL {
            let tick = if may(*role, action.as_str()) { "✓" } else { "·" };
            write!(line, " {tick:<width$}", width = role.as_str().len()).unwrap();
        }
        writeln!(table, "{}", line.trim_end()).unwrap();
    }
    insta::assert_snapshot!(table);
}

/// Whatever else the table says: what must not be, in words.
#[test]
fn what_must_not_be() {
    for &role in Role::ALL.iter().filter(|&&role| role != Role::Operator) {
        for site in ["tenant.create", "tenant.update", "price.update", "endpoint.update"] {
            assert!(!may(role, site), "{role} {site}");
        }
        for verb in ["engine.create", "engine.update", "engine.delete"] {
            assert!(!may(role, verb), "{role} {verb}: engines decide where data goes");
        }
        for verb in ["broker.create", "broker.update", "broker.delete", "broker.fulfil"] {
            assert!(!may(role, verb), "{role} {verb}: a registration makes tenants");
        }
        if role.binding() == Binding::Tenant {
            assert!(!may(role, "engine.read"), "{role}: engines are the operator's");
        }
    }
    // An installer works on machines and changes nothing else; what a site is made of stays the operator's.
    let installs = ["machine.enrol", "order.update", "task.update"];
    for &role in Role::ALL.iter().filter(|&&role| role != Role::Operator) {
        for verb in ["site.update", "machine.update"] {
            assert!(!may(role, verb), "{role} {verb}");
        }
        assert!(role == Role::Installer || installs.iter().all(|verb| !may(role, verb)), "{role}");
    }
    for reader in [Role::Auditor, Role::Finance, Role::Installer, Role::Partner] {
        for action in Action::ALL.iter().filter(|action| may(reader, action.as_str())) {
            let works = (reader == Role::Installer && installs.contains(&action.as_str()))
                || (reader == Role::Partner && *action == Action::PartnerPublish);
            let reads = action.as_str().ends_with(".read") || *action == Action::PolicyExplain;
            assert!(reads || works, "{reader} {action}");
        }
    }
    assert!(Action::ALL.iter().all(|action| may(Role::Operator, action.as_str())));
}
