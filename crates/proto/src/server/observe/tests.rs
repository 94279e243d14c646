//! The list of observers by itself.
