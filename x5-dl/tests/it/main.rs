//! Integration tests, one binary.

#[cfg(test)]
mod bucket;
#[cfg(test)]
mod chain;
#[cfg(test)]
mod compute;
#[cfg(test)]
mod impact;
#[cfg(test)]
mod product;
#[cfg(test)]
mod project;
#[cfg(test)]
mod score_files;
