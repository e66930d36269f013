//! Integration tests, one binary.

#[cfg(test)]
mod analyses;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod paper;
#[cfg(test)]
mod pipeline;
#[cfg(test)]
mod series;
#[cfg(test)]
mod table;
#[cfg(test)]
mod truth;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod vegetation;
