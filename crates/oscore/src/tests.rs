//! Tests of what members do with each other, through the public interface.

mod checker;
mod context;
mod contexts;
mod deterministic;
mod echo;
mod exchange;
mod floor;
mod forgery;
mod group;
mod install;
mod manager;
mod meanwhile;
mod members;
mod messages;
mod modes;
mod naive;
mod names;
mod protection;
mod receive;
mod restart;
mod texts;
mod upkeep;
mod vectors;
mod work;
