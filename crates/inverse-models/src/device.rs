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
            candle_core::Device::new_cuda(number).map_err(|error| refused(error.to_string()))
        }
    }
}

pub(crate) fn backend(error: candle_core::Error) -> FitError {
    FitError::Backend(Box::new(error))
}

pub(crate) fn propose_backend(error: candle_core::Error) -> ProposeError {
    ProposeError::Backend(Box::new(error))
}
