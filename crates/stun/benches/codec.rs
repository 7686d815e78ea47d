//! What reading and writing cost, beside `stun-types`. `cargo bench -p farspeak-stun [-- part of a name]`

#[path = "../../sip/tests/support/measure.rs"]
mod measure;

use std::hint::black_box;
use std::net::SocketAddr;

use farspeak_sansio::{Flow, Transport};
use farspeak_stun::channel_data::{self, ChannelData};
use farspeak_stun::indication::Prefix;
use farspeak_stun::{
    Attribute, BindingServer, Class, Key, Limits, Message, Method, ServerConfig, TransactionId, Writer,
};
use measure::Batches;
use stun_types::message as theirs;
use stun_types::prelude::{MessageWrite as _, MessageWriteExt as _};

const EACH: Batches = Batches { size: 500, count: 400 };
const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

fn main() {
    let address: SocketAddr = "192.0.2.1:32853".parse().unwrap();
    let key = Key::short_term(PASSWORD).unwrap();
    let credentials = theirs::ShortTermCredentials::new(PASSWORD.to_owned()).into();
    let id = TransactionId(*b"abcdefghijkl");

    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, id);
    writer.push(Attribute::Username("evtj:h6vY")).push(Attribute::Priority(1)).push(Attribute::IceControlled(7));
    writer.integrity(&key).fingerprint();
    let check = writer.finish().unwrap().to_vec();
    let mut plain = [0; 20];
    let plain = Writer::new(&mut plain, Class::Request, Method::BINDING, id).finish().unwrap().to_vec();

    EACH.report("Binding request of ICE: parse, USERNAME, FINGERPRINT checked", || {
        let message = Message::parse(black_box(&check)).unwrap();
        (message.check_fingerprint(), message.username().unwrap().map(str::len))
    });
    EACH.report("Binding request of ICE: the same by stun-types", || {
        let message = theirs::Message::from_bytes(black_box(&check)).unwrap();
        message.attribute::<stun_types::attribute::Username>().unwrap().username().len()
    });
    EACH.report("Binding request of ICE: MESSAGE-INTEGRITY checked", || {
        Message::parse(black_box(&check)).unwrap().check_integrity(&key).unwrap()
    });
    EACH.report("Binding request of ICE: the same by stun-types", || {
        theirs::Message::from_bytes(black_box(&check)).unwrap().validate_integrity(&credentials).is_ok()
    });
    let request = Message::parse(&check).unwrap();
    let mut out = [0; 256];
    EACH.report("Binding response with integrity and fingerprint: write", || {
        let mut writer = Writer::respond(&mut out, Class::Success, black_box(&request));
        writer.push(Attribute::XorMappedAddress(address)).integrity(&key).fingerprint();
        writer.finish().unwrap().len()
    });
    let request = theirs::Message::from_bytes(&check).unwrap();
    EACH.report("Binding response with integrity and fingerprint: the same by stun-types", || {
        let mut builder = theirs::Message::builder_success(black_box(&request), theirs::MessageWriteVec::new());
        let mapped = stun_types::attribute::XorMappedAddress::new(address, request.transaction_id());
        builder.add_attribute(&mapped).unwrap();
        builder.add_message_integrity(&credentials, theirs::IntegrityAlgorithm::Sha1).unwrap();
        builder.add_fingerprint().unwrap();
        builder.finish().len()
    });

    let limits = Limits { per_second: u32::MAX, burst: u32::MAX, ..Limits::default() };
    let mut server = BindingServer::new(ServerConfig { limits, ..ServerConfig::default() });
    let flow = Flow::unbound(Transport::Udp, "192.0.2.9:3478".parse().unwrap(), address);
    EACH.report("Binding server: a stranger's request answered", || {
        server.answer(farspeak_sansio::Instant::ZERO, &flow, black_box(&plain), &mut out).unwrap().length
    });

    let mut channel = channel_data::header(0x4001, 172).to_vec();
    channel.resize(4 + 172, 7);
    EACH.report("ChannelData of 172 bytes: parse", || ChannelData::parse(black_box(&channel)).unwrap().data.len());
    EACH.report("ChannelData of 172 bytes: header", || channel_data::header(black_box(0x4001), black_box(172)));
    let mut indication = Prefix::new(Method::SEND, id, address, 172).unwrap().bytes().to_vec();
    indication.resize(indication.len() + 172, 7);
    EACH.report("Send indication of 172 bytes: parse, peer and data", || {
        let message = Message::parse(black_box(&indication)).unwrap();
        (message.xor_peer_address().unwrap(), message.data().unwrap().map(<[u8]>::len))
    });
    EACH.report("Data indication of 172 bytes: prefix", || Prefix::new(Method::DATA, id, black_box(address), 172));
}
