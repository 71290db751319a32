//! phase

mod item;

pub use item::ItemFlags;
