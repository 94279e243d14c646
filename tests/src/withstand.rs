//! What an endpoint must withstand: other implementations' ways, garbage, forgers and floods.

mod bare;
mod blocks;
mod floods;
mod kills;
mod lessons;
mod malformed;
mod operations;
mod spoofed;
mod work;
