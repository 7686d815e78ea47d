//! Virtual time, links, NATs and ladders for testing protocol machines.
