//! Counters, gauges and histograms that take no lock and allocate nothing when something is
//! counted, and the page that a scrape reads.
//!
//! Counting is a relaxed atomic addition or two. Names, help and labels exist only on a [`Page`],
//! which is put together when somebody asks for it.

mod meter;
mod page;

pub use meter::{BOUNDS, Counter, Gauge, Reading, Times};
pub use page::{Family, Kind, Page, Sample, Series, Value};
