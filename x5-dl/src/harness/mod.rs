//! The machinery every model shares: device, parameters by name, optimiser, training loop, checkpoint.

pub(crate) mod adam;
pub(crate) mod backend;
pub(crate) mod checkpoint;
pub(crate) mod fit;
pub(crate) mod gradient;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod weights;
