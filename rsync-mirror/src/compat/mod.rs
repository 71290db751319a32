//! Programs that others have in use, understood: their configurations, addresses and words.

pub mod tunasync;
