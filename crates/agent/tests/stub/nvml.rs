//! A library that answers as NVIDIA's does, for machines without a GPU. Tests compile it with
//! `rustc --crate-type cdylib --edition 2024` and put it beside a file `nvml.script`, which it reads again at each call:
//!
//! ```text
//! driver 580.95.05        the driver's version
//! gpus 8                  how many
//! ecc 3 1 20              GPU 3: uncorrectable, correctable errors since its reset; in its life a thousand more
//! remap 3 2 1             GPU 3: rows remapped, whether a remap failed
//! links 3 17              GPU 3: NVLinks up, else 18
//! hot 3 91                GPU 3: this temperature, and throttled by it
//! lost 3                  GPU 3 does not answer
//! xid 3 79                an event; each line is delivered once
//! deaf 1                  so many waits for events fail, of all that there ever were
//! mute                    nobody may register for events
//! ```
//!
//! Only what `agent::nvml` calls is here; the rest of the library is missing, as old drivers miss newer calls.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SUCCESS: c_int = 0;
const INVALID_ARGUMENT: c_int = 2;
const NOT_FOUND: c_int = 6;
const TIMEOUT: c_int = 10;
const GPU_IS_LOST: c_int = 15;

const TEMPERATURE_C: c_uint = 41;
const POWER_MW: c_uint = 302_000;
const MEMORY: c_ulonglong = 183_359 * 1024 * 1024;

/// Events delivered so far.
static DELIVERED: AtomicUsize = AtomicUsize::new(0);
/// Waits that failed so far.
static FAILED: AtomicUsize = AtomicUsize::new(0);

#[repr(C)]
struct Location {
    file: *const c_char,
    base: *mut c_void,
    symbol: *const c_char,
    address: *mut c_void,
}

unsafe extern "C" {
    fn dladdr(address: *const c_void, found: *mut Location) -> c_int;
}

/// The script beside this very library.
fn script() -> String {
    let mut found = Location {
        file: std::ptr::null(),
        base: std::ptr::null_mut(),
        symbol: std::ptr::null(),
        address: std::ptr::null_mut(),
    };
    let known = unsafe { dladdr(nvmlInit_v2 as *const c_void, &mut found) };
    if known == 0 || found.file.is_null() {
        return String::new();
    }
    let path = unsafe { CStr::from_ptr(found.file) }.to_string_lossy().into_owned();
    let path = std::path::Path::new(&path).with_file_name("nvml.script");
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The numbers of each line that begins with this word.
fn lines(word: &str) -> Vec<Vec<u64>> {
    script()
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next()? == word).then(|| words.filter_map(|it| it.parse().ok()).collect())
        })
        .collect()
}

fn count() -> c_uint {
    lines("gpus").first().and_then(|it| it.first().copied()).unwrap_or(0) as c_uint
}

/// What the script says of this GPU.
fn of(word: &str, device: *mut c_void) -> Option<Vec<u64>> {
    let gpu = index(device) as u64;
    lines(word).into_iter().find(|it| it.first() == Some(&gpu))
}

fn device(index: c_uint) -> *mut c_void {
    (index as usize + 1) as *mut c_void
}

fn index(device: *mut c_void) -> c_uint {
    (device as usize - 1) as c_uint
}

fn write(text: &str, out: *mut c_char, length: c_uint) -> c_int {
    if text.len() + 1 > length as usize {
        return INVALID_ARGUMENT;
    }
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), out, text.len());
        *out.add(text.len()) = 0;
    }
    SUCCESS
}

fn put<T>(out: *mut T, value: T) -> c_int {
    unsafe { *out = value };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetDriverVersion(out: *mut c_char, length: c_uint) -> c_int {
    let script = script();
    let driver = script.lines().find_map(|line| line.strip_prefix("driver ")).unwrap_or("580.95.05");
    write(driver.trim(), out, length)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCount_v2(out: *mut c_uint) -> c_int {
    put(out, count())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByIndex_v2(at: c_uint, out: *mut *mut c_void) -> c_int {
    if at >= count() {
        return INVALID_ARGUMENT;
    }
    if of("lost", device(at)).is_some() {
        return GPU_IS_LOST;
    }
    put(out, device(at))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetIndex(device: *mut c_void, out: *mut c_uint) -> c_int {
    put(out, index(device))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetUUID(device: *mut c_void, out: *mut c_char, length: c_uint) -> c_int {
    write(&format!("GPU-00000000-0000-0000-0000-{:012}", index(device)), out, length)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetName(_: *mut c_void, out: *mut c_char, length: c_uint) -> c_int {
    write("NVIDIA B200", out, length)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetSerial(device: *mut c_void, out: *mut c_char, length: c_uint) -> c_int {
    write(&format!("16500{:08}", index(device)), out, length)
}

#[repr(C)]
struct Memory {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMemoryInfo_v2(_: *mut c_void, out: *mut Memory) -> c_int {
    let version = unsafe { (*out).version };
    put(out, Memory { version, total: MEMORY, reserved: 0, free: MEMORY, used: 0 })
}

/// Kind 0 is correctable, 1 is not; counter 0 counts since the reset, 1 the GPU's life.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTotalEccErrors(
    device: *mut c_void,
    kind: c_int,
    counter: c_int,
    out: *mut c_ulonglong,
) -> c_int {
    let counts = of("ecc", device).unwrap_or_default();
    let at = if kind == 1 { 1 } else { 2 };
    let life = if counter == 1 { 1_000 } else { 0 };
    put(out, counts.get(at).copied().unwrap_or(0) + life)
}

#[repr(C)]
struct Field {
    field: c_uint,
    scope: c_uint,
    timestamp: i64,
    latency: i64,
    /// 1: an unsigned int.
    kind: c_int,
    result: c_int,
    value: u64,
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetFieldValues(device: *mut c_void, count: c_int, fields: *mut Field) -> c_int {
    let remap = of("remap", device).unwrap_or_default();
    for at in 0..count as usize {
        let field = unsafe { &mut *fields.add(at) };
        field.kind = 1;
        field.result = SUCCESS;
        field.value = match field.field {
            143 => remap.get(1).copied().unwrap_or(0),
            145 => remap.get(2).copied().unwrap_or(0),
            _ => {
                field.result = NOT_FOUND;
                0
            }
        };
    }
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetNvLinkState(device: *mut c_void, link: c_uint, out: *mut c_int) -> c_int {
    let up = of("links", device).and_then(|it| it.get(1).copied()).unwrap_or(18);
    put(out, c_int::from(u64::from(link) < up))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTemperature(device: *mut c_void, _: c_int, out: *mut c_uint) -> c_int {
    let hot = of("hot", device).and_then(|it| it.get(1).copied());
    put(out, hot.map_or(TEMPERATURE_C, |it| it as c_uint))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPowerUsage(_: *mut c_void, out: *mut c_uint) -> c_int {
    put(out, POWER_MW)
}

/// Idle, which is nothing to look at; or slowed by heat.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCurrentClocksThrottleReasons(device: *mut c_void, out: *mut c_ulonglong) -> c_int {
    put(out, if of("hot", device).is_some() { 0x40 } else { 0x1 })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetCreate(out: *mut *mut c_void) -> c_int {
    put(out, 1 as *mut c_void)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetFree(_: *mut c_void) -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceRegisterEvents(_: *mut c_void, _: c_ulonglong, _: *mut c_void) -> c_int {
    if lines("mute").is_empty() { SUCCESS } else { GPU_IS_LOST }
}

#[repr(C)]
struct EventData {
    device: *mut c_void,
    kind: c_ulonglong,
    data: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

/// Waits as the real one does; a script that grows is seen within some milliseconds.
#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetWait_v2(_: *mut c_void, out: *mut EventData, timeout_ms: c_uint) -> c_int {
    let end = Instant::now() + Duration::from_millis(u64::from(timeout_ms));
    loop {
        let deaf = lines("deaf").first().and_then(|it| it.first().copied()).unwrap_or(0);
        if (FAILED.load(Ordering::Relaxed) as u64) < deaf {
            FAILED.fetch_add(1, Ordering::Relaxed);
            return GPU_IS_LOST;
        }
        let events = lines("xid");
        let next = DELIVERED.load(Ordering::Relaxed);
        if let Some([gpu, code]) = events.get(next).map(Vec::as_slice) {
            DELIVERED.store(next + 1, Ordering::Relaxed);
            let device = device(*gpu as c_uint);
            return put(out, EventData { device, kind: 8, data: *code, gpu_instance: 0, compute_instance: 0 });
        }
        if Instant::now() >= end {
            return TIMEOUT;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
