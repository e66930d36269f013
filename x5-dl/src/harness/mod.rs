//! The machinery every model shares: device, parameters by name, optimiser, training loop, checkpoint.

pub(crate) mod adam;
pub(crate) mod ahead;
pub(crate) mod backend;
pub(crate) mod checkpoint;
pub(crate) mod fit;
pub(crate) mod gradient;
pub(crate) mod inputs;
pub(crate) mod keep;
pub(crate) mod noise;
pub(crate) mod schedule;
pub(crate) mod scheduled_sampling;
pub(crate) mod statistics;
pub(crate) mod stop;
pub(crate) mod tensorboard;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod weights;
