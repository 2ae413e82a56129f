//! What a BMC may cost us. The figures come from a real one: a DGX H100 answered 5,091 requests in 2,677 s, 0.53 s each, 20.9 s
//! at worst; its biggest resource is 0.4 MB.

use std::time::Duration;

/// TCP and TLS together. A BMC is two switches away; who needs longer is not there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One request, from its first byte to the answer's last: the worst of the capture (20.9 s) and half as much again.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything of one BMC. Without `$expand` a DGX needs about 220 requests of 0.53 s over 2 lanes: 58 s; four times that.
pub const READING_TIMEOUT: Duration = Duration::from_secs(240);

/// Requests at a time to one BMC. Its processor serves the fans too.
pub const LANES: usize = 2;

/// Bytes of one answer's body. Biggest of the capture 0.4 MB, all 45 chassis expanded into one answer 0.1 MB; ten times that.
pub const BODY_BYTES_MAX: usize = 4 << 20;

/// Bytes of an answer's head. Real ones have less than one kilobyte.
pub const HEAD_BYTES_MAX: usize = 32 << 10;

/// Bytes of all bodies of one reading: 220 resources of 3 kB are 0.7 MB; what is above 64 MiB is no inventory.
pub const READING_BYTES_MAX: u64 = 64 << 20;

/// Requests of one reading: 220 for a DGX without `$expand`; ten times that.
pub const REQUESTS_MAX: u32 = 2_000;

/// Members of one collection. The capture's largest that we read has 66 (firmware).
pub const MEMBERS_MAX: usize = 1_024;

/// Pages of one collection. AMI's BMC cuts at 75 members: 1,024 members are 14 pages.
pub const PAGES_MAX: usize = 16;

/// Gaps that a reading lists; more are counted.
pub const GAPS_MAX: usize = 32;

/// Lines of complaint in an inventory (`fleet::observed::Inventory::complaints`).
pub const COMPLAINTS_MAX: usize = 32;

/// Characters of a name, serial number, model or version. The capture's longest is 46.
pub const TEXT_CHARS_MAX: usize = 128;

/// Characters of a log message or complaint.
pub const LINE_CHARS_MAX: usize = 240;

/// Characters of a path.
pub const PATH_CHARS_MAX: usize = 1_024;

/// Pages of one log that are read, from the newest; of about 75 entries each.
pub const LOG_PAGES_MAX: usize = 3;

/// Entries of all logs that are kept, the newest.
pub const LOG_ENTRIES_MAX: usize = 100;

/// Logs that are read of one machine: a system event log and an event log each of host and baseboard.
pub const LOGS_MAX: usize = 4;

/// Redirects followed within a BMC's own origin: some send `/redfish/v1` to `/redfish/v1/`.
pub const REDIRECTS_MAX: usize = 2;

/// The limits that a test or an operator of odd hardware may change; the rest are what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    pub reading_timeout: Duration,
    pub lanes: usize,
    pub body_bytes_max: usize,
    pub reading_bytes_max: u64,
    pub requests_max: u32,
    pub members_max: usize,
    pub pages_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            reading_timeout: READING_TIMEOUT,
            lanes: LANES,
            body_bytes_max: BODY_BYTES_MAX,
            reading_bytes_max: READING_BYTES_MAX,
            requests_max: REQUESTS_MAX,
            members_max: MEMBERS_MAX,
            pages_max: PAGES_MAX,
        }
    }
}
