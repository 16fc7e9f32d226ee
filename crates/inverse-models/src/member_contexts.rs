//! The surroundings of each member's fit in an ensemble.

use inverse_core::{CheckpointPolicy, Device, FitContext, RandomStreams};

/// What they are made of, for any thread: each member has streams and checkpoints of its own.
pub(crate) struct MemberContexts {
    purpose: &'static str,
    streams: RandomStreams,
    pub(crate) device: Device,
    checkpoints: Option<CheckpointPolicy>,
}

impl MemberContexts {
    /// * `purpose`: the name of the members' families of streams
    pub(crate) fn of(context: &FitContext<'_>, purpose: &'static str) -> Self {
        let checkpoints = context.checkpoints().cloned();
        Self { purpose, streams: context.streams(), device: context.device(), checkpoints }
    }

    /// The surroundings of one member's fit, silent.
    pub(crate) fn context<'a>(&self, index: usize) -> FitContext<'a> {
        let seed = self.streams.family(self.purpose, index as u64).seed();
        let own = FitContext::new(seed).with_device(self.device);
        match self.checkpoints.clone() {
            Some(mut policy) => {
                policy.folder.push(format!("member-{index}"));
                own.with_checkpoints(policy)
            }
            None => own,
        }
    }
}
