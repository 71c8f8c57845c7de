//! The client against brokers, in virtual time: connections break, brokers fail, leaders move, and what the
//! client says of each record is compared with what is in the logs.

mod model;
mod produce;
mod world;
