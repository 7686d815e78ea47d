//! x
use farspeak_node::{binding::BindingRow, config::Durability, store::Store};
use farspeak_sansio::Transport;
#[test]
fn bench() {
    let dir = std::path::PathBuf::from("/tmp/edge-bench"); let _ = std::fs::remove_dir_all(&dir); std::fs::create_dir_all(&dir).unwrap();
    let mut store = Store::open(&dir, Durability::Process).unwrap();
    let end = "192.0.2.4:40123".parse().unwrap();
    let row = |n: u64| BindingRow { aor: format!("user{}@example.org", n % 5000), contact: "sip:alice@192.0.2.4:5061;transport=tls".into(), instance: None, reg_id: None, q: 1000, expires_at_unix_ms: i64::MAX, call_id: "c1@phone".into(), cseq: 1, path: String::new(), params: String::new(), user_agent: "x".into(), transport: Transport::Udp, local: end, remote: end, flow_bits: 0, version: n };
    let mut v = 1;
    for size in [1usize, 2, 3, 5, 8, 16, 30, 100, 300] {
        let rounds = 3000 / size.min(30);
        let t = std::time::Instant::now(); let c = cpu();
        for _ in 0..rounds { let rows: Vec<_> = (0..size).map(|_| { v += 1; row(v) }).collect(); store.commit(&rows).unwrap(); }
        let n = (rounds * size) as f64;
        println!("batch {size}: {:.1} us wall/row, {:.1} us cpu/row, {:.1} us cpu/batch", t.elapsed().as_secs_f64()*1e6/n, (cpu()-c)*1e6/n, (cpu()-c)*1e6/rounds as f64);
    }
}
fn cpu() -> f64 { let mut t = 0.0; for e in std::fs::read_dir("/proc/self/task").unwrap() { let s = std::fs::read_to_string(e.unwrap().path().join("schedstat")).unwrap(); t += s.split(' ').next().unwrap().parse::<f64>().unwrap()/1e9; } t }
