//! Tests of what members do with each other, through the public interface.

mod checker;
mod context;
mod echo;
mod exchange;
mod floor;
mod forgery;
mod install;
mod manager;
mod members;
mod messages;
mod modes;
mod protection;
mod receive;
mod restart;
mod texts;
mod upkeep;
mod vectors;
mod work;
