//! Port mapping by PCP, NAT-PMP and UPnP with scripted routers, in virtual time, with loss.

#[path = "port_mapping/gateway.rs"]
mod gateway;
#[path = "port_mapping/hostile.rs"]
mod hostile;
#[path = "port_mapping/ladder.rs"]
mod ladder;
#[path = "port_mapping/nat_pmp.rs"]
mod nat_pmp;
#[path = "port_mapping/pcp.rs"]
mod pcp;
#[path = "port_mapping/router.rs"]
mod router;
#[path = "port_mapping/upnp.rs"]
mod upnp;
