//! Streamed answers: their chunks and their events.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use pd_proxy::http1::{Chunked, ChunkedEvent};
use pd_proxy::openai::EventScan;

/// Events of one read from a busy decode node.
const EVENTS: usize = 64;
const EVENT: &str = "data: {\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\
    \"created\":1763805600,\"model\":\"Qwen/Qwen2.5-7B-Instruct\",\"choices\":[{\"index\":0,\
    \"delta\":{\"content\":\" token\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";

/// Counts the bytes of a chunked body.
fn data_bytes(body: &[u8]) -> usize {
    let mut chunked = Chunked::new();
    let (mut at, mut bytes) = (0, 0);
    loop {
        match chunked.next(body, &mut at).unwrap() {
            ChunkedEvent::Data(data) => bytes += data.len(),
            ChunkedEvent::Done | ChunkedEvent::NeedMore => return bytes,
        }
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let chunks = format!("{:x}\r\n{EVENT}\r\n", EVENT.len()).repeat(EVENTS) + "0\r\n\r\n";
    let mut group = criterion.benchmark_group("chunked_scan");
    group.throughput(Throughput::Bytes(chunks.len() as u64));
    group.bench_function("64_events", |bencher| {
        bencher.iter(|| data_bytes(black_box(chunks.as_bytes())));
    });
    group.finish();

    let events = EVENT.repeat(EVENTS);
    let mut group = criterion.benchmark_group("sse_scan");
    group.throughput(Throughput::Bytes(events.len() as u64));
    group.bench_function("64_events", |bencher| {
        bencher.iter(|| {
            let mut scan = EventScan::new();
            scan.feed(black_box(events.as_bytes()));
            scan.finish()
        });
    });
    group.finish();
}
