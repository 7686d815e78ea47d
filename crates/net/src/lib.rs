//! The I/O edge: sockets, TLS, WebSocket, clock and the driver loop of sans-IO machines.
