//! Request bodies: found members, and the copy for the prefill node.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use pd_proxy::openai::{Patch, scan};
use serde_json::{Value, json};

const SIZES: [(&str, usize); 3] = [("1KB", 1 << 10), ("100KB", 100 << 10), ("10MB", 10 << 20)];

/// A chat request whose prompt makes it about this long.
fn chat(bytes: usize) -> Vec<u8> {
    let prompt = "how is the weather in \"Z\u{fc}rich\"?\n".repeat(bytes / 36);
    let chat = json!({
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 128,
        "stream": true,
    });
    chat.to_string().into_bytes()
}

/// What the proxy does with a body: the same bytes but for a few members.
fn scanned_and_patched(body: &[u8]) -> u64 {
    let scan = scan(body).unwrap();
    Patch::prefill(&scan, body).len(body)
}

fn with_serde_json(body: &[u8]) -> usize {
    let mut chat: Value = serde_json::from_slice(body).unwrap();
    if let Some(chat) = chat.as_object_mut() {
        chat.insert("max_tokens".to_owned(), Value::from(1));
    }
    serde_json::to_vec(&chat).unwrap().len()
}

/// It parses in place, so it is given a copy of its own.
fn with_simd_json(body: &mut [u8]) -> usize {
    let mut chat: simd_json::OwnedValue = simd_json::to_owned_value(body).unwrap();
    if let simd_json::OwnedValue::Object(chat) = &mut chat {
        chat.insert("max_tokens".to_owned(), simd_json::OwnedValue::from(1_u64));
    }
    simd_json::to_vec(&chat).unwrap().len()
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("body_scan_and_patch");
    for (name, bytes) in SIZES {
        let body = chat(bytes);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(
            BenchmarkId::new("pd_proxy", name),
            &body,
            |bencher, body| {
                bencher.iter(|| scanned_and_patched(black_box(body)));
            },
        );
        group.bench_with_input(
            BenchmarkId::new("serde_json", name),
            &body,
            |bencher, body| {
                bencher.iter(|| with_serde_json(black_box(body)));
            },
        );
        group.bench_with_input(
            BenchmarkId::new("simd_json", name),
            &body,
            |bencher, body| {
                bencher.iter_batched(
                    || body.clone(),
                    |mut body| with_simd_json(black_box(&mut body)),
                    BatchSize::LargeInput,
                );
            },
        );
    }
    group.finish();
}
