//! The networks: forward passes only, no data handling and no training.

pub(crate) mod convlstm;
pub(crate) mod init;
pub(crate) mod rnn;
