//! Reads everything that routing may need from a message; what the bench times and the allocation test counts.

use farspeak_sip::message::{Contacts, HeaderName, Message, NameAddrs};

/// An INVITE of 826 bytes with SDP, as it comes to the second proxy.
pub const INVITE: &[u8] = include_bytes!("../data/invite-826.sip");
/// A REGISTER with outbound parameters and credentials.
pub const REGISTER: &[u8] = include_bytes!("../data/register.sip");

/// Types all routing header fields and sums something of each up, so that no work can be left out.
pub fn read_routing(message: &Message) -> usize {
    let mut sum = message.uri().unwrap().host_port().len();
    sum += message.vias().map(|via| via.unwrap().branch().unwrap().len()).sum::<usize>();
    for address in [message.from().unwrap(), message.to().unwrap()] {
        sum += address.uri().unwrap().user.unwrap().len() + address.tag().map_or(0, str::len);
    }
    sum += message.call_id().unwrap().len();
    sum += message.cseq().unwrap().number as usize;
    if let Contacts::List(contacts) = message.contacts().unwrap() {
        for contact in contacts {
            let contact = contact.unwrap();
            sum += contact.uri().unwrap().transport_param().map_or(0, str::len);
            sum += usize::from(contact.q().unwrap_or(1000)) + contact.instance().map_or(0, str::len);
            sum += contact.expires().unwrap_or(0) as usize + contact.reg_id().unwrap_or(0) as usize;
        }
    }
    let loose = |addresses: NameAddrs<'_>| {
        addresses.filter(|address| address.as_ref().unwrap().uri().unwrap().param("lr").is_some()).count()
    };
    sum += loose(message.routes()) + loose(message.record_routes()) + loose(message.paths());
    sum += message.max_forwards().unwrap().unwrap_or(70) as usize;
    sum += message.expires().unwrap().unwrap_or(0) as usize;
    sum += message.require().count() + message.proxy_require().count() + message.supported().count();
    sum += message.authorization().map(str::len).sum::<usize>() + message.proxy_authorization().count();
    sum += message.content_type().map_or(0, str::len) + message.content_length().unwrap().unwrap_or(0);
    sum + usize::from(message.header(HeaderName::Date).is_some())
}
