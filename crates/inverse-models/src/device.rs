//! From the library's device names to candle's devices, and from candle's errors to the library's.

use inverse_core::{Device, FitError, ProposeError};

/// candle's handle of a device.
///
/// A CUDA device in a build without the `cuda` feature is an error: nothing falls back to the processor
/// in silence.
///
/// # Errors
/// [`FitError::Device`] where the device is absent or this build cannot use it.
pub fn open_device(device: Device) -> Result<candle_core::Device, FitError> {
    let refused = |reason: String| FitError::Device { device: device.to_string(), reason };
    match device {
        Device::Cpu => Ok(candle_core::Device::Cpu),
        Device::Cuda(number) => {
            if !cfg!(feature = "cuda") {
                return Err(refused("this build lacks the `cuda` feature".into()));
            }
            open_cuda(number).map_err(|error| refused(error.to_string()))
        }
    }
}

/// One handle a GPU for the whole process, with one stream of its own: all work on a GPU is done in the order in which
/// it was asked for, whichever thread asked.
#[cfg(feature = "cuda")]
fn open_cuda(number: usize) -> candle_core::Result<candle_core::Device> {
    use std::sync::{Mutex, PoisonError};

    static OPENED: Mutex<Vec<(usize, candle_core::Device)>> = Mutex::new(Vec::new());
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, device)) = opened.iter().find(|(opened, _)| *opened == number) {
        return Ok(device.clone());
    }
    let device = candle_core::Device::new_cuda_with_stream(number)?;
    crate::nn::prepare_cuda(&device)?;
    opened.push((number, device.clone()));
    Ok(device)
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(number: usize) -> candle_core::Result<candle_core::Device> {
    candle_core::Device::new_cuda(number)
}

pub(crate) fn backend(error: candle_core::Error) -> FitError {
    FitError::Backend(Box::new(error))
}

pub(crate) fn propose_backend(error: candle_core::Error) -> ProposeError {
    ProposeError::Backend(Box::new(error))
}

/// Runs `work` on the processor on one of the threads that share it: from any other thread each parallel pass, ten or
/// more a step, would first have to be handed over.
pub(crate) fn on_worker<R: Send>(device: &candle_core::Device, work: impl FnOnce() -> R + Send) -> R {
    if device.is_cpu() { rayon::scope(|_| work()) } else { work() }
}
