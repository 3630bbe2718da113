//! Placeholder replaced within this change series.
