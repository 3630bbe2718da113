//! One core: its driver, tasks, timers and pool, and the order of one turn.

pub(crate) mod context;
pub(crate) mod core;
pub(crate) mod idle;
pub(crate) mod park;
pub(crate) mod policy;
pub(crate) mod root;
pub(crate) mod shutdown;
pub(crate) mod spin;
pub(crate) mod stats;
pub(crate) mod turn;

pub(crate) use self::core::Core;
pub use policy::TurnBudget;
pub use shutdown::ShutdownReport;
pub use stats::Stats;
pub use turn::TurnReport;
