//! Paths as capabilities: directories held open, and one-component operations beneath them.
//!
//! Nothing a peer or another user can influence is ever given to the system as a path of several
//! components: a [`Dir`] is opened beneath the root without following links, and every operation is
//! a `*at` call with a single name (design decision 5; spec 10 G3, SEC-002).

#[cfg(test)]
mod attacks;
mod bounds;
mod dir;
mod follow;
mod owner_walk;
mod pinned;
mod stack;
mod stat;

pub(crate) use bounds::Bounds;
pub use dir::Dir;
pub(crate) use dir::stat_fd;
pub(crate) use follow::{Reach, length_of};
pub(crate) use owner_walk::{Trust, create_operator_file, make_operator_dir, open_operator_dir};
pub use owner_walk::{open_operator_file, open_operator_log, open_operator_state, open_users_file};
pub use pinned::Pinned;
pub use stack::DirStack;
pub use stat::Stat;
