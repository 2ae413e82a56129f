//! GPUs as NVIDIA's library says: inventory and health when asked, XID events from a thread of their own.
//!
//! The library is opened by path at run time; a machine without it is a machine without GPUs and says why. A value that one GPU or
//! driver does not know (NVLink on an RTX card, ECC where there is none) is its zero; a GPU that does not answer at all is left
//! out, which the bill of materials then misses.

use crate::signs::{LinkSeen, Look, NVLINK};
use crate::wire::{GPUS_MAX, NAME_MAX};
use fleet::observed::{EventKind, GpuSeen};
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::{Device, EventSet, Nvml};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Links that one GPU may have: Blackwell has 18.
const NVLINKS_MAX: u32 = 18;
/// NVML's numbers of fields that its wrapper has no call for.
const ROWS_REMAPPED_UNCORRECTABLE: FieldId = FieldId(143);
const ROW_REMAP_FAILURE: FieldId = FieldId(145);
/// How long the thread waits for an event before it looks whether it shall stop.
const EVENT_WAIT_MS: u32 = 500;
/// After an error, and while a GPU does not answer, it is listened anew so often: a GPU that is lost is when XIDs of the others matter.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// With some GPUs left out, the others are listened to for so long before it is tried with all.
const LISTEN_WITHOUT: Duration = Duration::from_secs(60);
/// XIDs that wait to be taken; the newest beyond that are lost, and each of them is one of many.
pub const XIDS_WAITING_MAX: usize = 256;
/// Where drivers put it.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// Why there is nothing to say about GPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no NVML: {0}")]
pub struct NoNvml(pub String);

/// The library, opened.
#[derive(Clone)]
pub struct Gpus {
    nvml: Arc<Nvml>,
    pub driver: String,
}

impl Gpus {
    /// Opens the library at this path, or where the driver puts it.
    pub fn open(path: Option<&Path>) -> Result<Gpus, NoNvml> {
        let path = path.unwrap_or(Path::new(LIBRARY));
        let opened = Nvml::builder().lib_path(path.as_os_str()).init();
        let nvml = opened.map_err(|error| NoNvml(format!("{}: {error}", path.display())))?;
        let driver = short(nvml.sys_driver_version().unwrap_or_default());
        Ok(Gpus { nvml: Arc::new(nvml), driver })
    }

    /// What every GPU says now, by its UUID, and each NVLink.
    pub fn look(&self) -> Look {
        let count = self.nvml.device_count().unwrap_or(0).min(GPUS_MAX as u32);
        let mut look = Look::default();
        for index in 0..count {
            let Ok(device) = self.nvml.device_by_index(index) else { continue };
            let Ok(uuid) = device.uuid() else { continue };
            let links = links(&device);
            look.gpus.insert(short(uuid), seen(index, &device, &links));
            let link = |(link, up): (u32, bool)| LinkSeen {
                domain: NVLINK.to_owned(),
                port: format!("gpu{index}:{link}"),
                up,
            };
            look.links.extend(links.into_iter().map(link));
        }
        look
    }

    /// XID events of all GPUs from now on, until the watch is dropped.
    pub fn watch(&self) -> Result<Watch, NoNvml> {
        let (sender, events) = mpsc::channel(XIDS_WAITING_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, begun) = std::sync::mpsc::channel();
        let (gpus, stopped) = (self.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("xid".into())
            .spawn(move || gpus.listen(&sender, &stopped, &ready))
            .map_err(|error| NoNvml(format!("no thread for events: {error}")))?;
        match begun.recv() {
            Ok(Ok(())) => Ok(Watch { events, stop, thread: Some(thread) }),
            Ok(Err(error)) => Err(NoNvml(format!("events: {error}"))),
            Err(_) => Err(NoNvml("events: their thread ended".into())),
        }
    }

    fn listen(
        &self,
        events: &mpsc::Sender<EventKind>,
        stop: &AtomicBool,
        ready: &std::sync::mpsc::Sender<Result<(), NvmlError>>,
    ) {
        let (mut set, mut missing) = match self.registered() {
            Ok(registered) => registered,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        let mut begun = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let error = match set.wait(EVENT_WAIT_MS) {
                Ok(event) => {
                    let Some(XidError::Value(code)) = event.event_data else { continue };
                    let gpu = event.device.index().unwrap_or(u32::MAX);
                    let code = u16::try_from(code).unwrap_or(u16::MAX);
                    // Full: the agent is behind by hundreds of events of the same GPU.
                    let _ = events.try_send(EventKind::Xid { code, gpu, driver: self.driver.clone() });
                    continue;
                }
                Err(NvmlError::Timeout) if !missing || begun.elapsed() < LISTEN_WITHOUT => continue,
                Err(NvmlError::Timeout) => None,
                Err(error) => Some(error),
            };
            if let Some(error) = error {
                tracing::warn!(%error, "NVML gives no events; it is listened anew");
                std::thread::sleep(LISTEN_AGAIN);
            }
            match self.registered() {
                Ok(registered) => ((set, missing), begun) = (registered, Instant::now()),
                // The old one is waited on meanwhile, and asked for anew after its next error.
                Err(error) => tracing::warn!(%error, "NVML lets nobody listen to its events"),
            }
        }
    }

    /// A set of events of every GPU that answers, and whether one does not.
    fn registered(&self) -> Result<(EventSet<'_>, bool), NvmlError> {
        let mut without: BTreeSet<u32> = BTreeSet::new();
        let count = self.nvml.device_count()?;
        'anew: loop {
            let mut set = self.nvml.create_event_set()?;
            for index in (0..count).filter(|index| !without.contains(index)).collect::<Vec<_>>() {
                let registered = self.nvml.device_by_index(index).and_then(|device| {
                    device.register_events(EventTypes::CRITICAL_XID_ERROR, set).map_err(|error| error.error)
                });
                match registered {
                    Ok(more) => set = more,
                    // The set is gone with it.
                    Err(error) if without.len() as u32 + 1 < count => {
                        tracing::debug!(gpu = index, %error, "listened to without it");
                        without.insert(index);
                        continue 'anew;
                    }
                    Err(error) => return Err(error),
                }
            }
            return Ok((set, !without.is_empty()));
        }
    }
}

impl std::fmt::Debug for Gpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpus").field("driver", &self.driver).finish_non_exhaustive()
    }
}

/// XID events as they come.
#[derive(Debug)]
pub struct Watch {
    pub events: mpsc::Receiver<EventKind>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The NVLinks that this GPU has, and whether each is up. One that it does not have is none that is down.
fn links(device: &Device<'_>) -> Vec<(u32, bool)> {
    (0..NVLINKS_MAX).filter_map(|link| Some((link, device.link_wrapper_for(link).is_active().ok()?))).collect()
}

fn seen(index: u32, device: &Device<'_>, links: &[(u32, bool)]) -> GpuSeen {
    // Since its reset: what a GPU had in its life and was mended by a reset is no finding for ever.
    let ecc = |kind| device.total_ecc_errors(kind, EccCounter::Volatile).unwrap_or(0);
    let (rows_remapped, remap_failed) = remaps(device);
    GpuSeen {
        index,
        name: short(device.name().unwrap_or_default()),
        serial: short(device.serial().unwrap_or_default()),
        memory_mib: device.memory_info().map_or(0, |it| it.total / (1024 * 1024)),
        ecc_uncorrected: ecc(MemoryError::Uncorrected),
        ecc_corrected: ecc(MemoryError::Corrected),
        rows_remapped,
        remap_failed,
        nvlinks_up: u32::try_from(links.iter().filter(|(_, up)| *up).count()).unwrap_or(0),
        temperature_c: device.temperature(TemperatureSensor::Gpu).unwrap_or(0),
        power_mw: device.power_usage().map_or(0, u64::from),
        throttled: device.current_throttle_reasons().is_ok_and(|it| it.intersects(bad_reasons())),
    }
}

/// Slowed by heat or by the power supply: not by an idle GPU, a cap that somebody set, or a limit that it runs into at full load.
fn bad_reasons() -> ThrottleReasons {
    ThrottleReasons::HW_SLOWDOWN
        | ThrottleReasons::HW_THERMAL_SLOWDOWN
        | ThrottleReasons::SW_THERMAL_SLOWDOWN
        | ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN
}

/// Rows remapped for uncorrectable errors, and whether a remap failed.
fn remaps(device: &Device<'_>) -> (u32, bool) {
    let Ok(values) = device.field_values_for(&[ROWS_REMAPPED_UNCORRECTABLE, ROW_REMAP_FAILURE]) else {
        return (0, false);
    };
    let number = |at: usize| match values.get(at)?.as_ref().ok()?.value.as_ref().ok()? {
        SampleValue::U32(value) => Some(*value),
        SampleValue::U64(value) => u32::try_from(*value).ok(),
        SampleValue::I64(value) => u32::try_from(*value).ok(),
        SampleValue::F64(_) => None,
    };
    (number(0).unwrap_or(0), number(1).unwrap_or(0) != 0)
}

fn short(text: String) -> String {
    if text.len() <= NAME_MAX { text } else { text.chars().take(NAME_MAX / 4).collect() }
}
