//! The store through its public face, on real files.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod batches;
mod books;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod control;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod model;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod resources;
#[cfg(test)]
mod rollups;
#[cfg(test)]
mod sinks;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod speed;
#[cfg(test)]
mod support;
