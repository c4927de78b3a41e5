//! Heads, as the OpenAI SDK sends them and as vLLM answers.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use pd_proxy::http1::{RequestHead, ResponseHead};

const REQUEST: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\n\
    Host: 127.0.0.1:10001\r\n\
    Accept-Encoding: gzip, deflate\r\n\
    Connection: keep-alive\r\n\
    Accept: application/json\r\n\
    Content-Type: application/json\r\n\
    User-Agent: OpenAI/Python 3.54.0\r\n\
    X-Stainless-Lang: python\r\n\
    X-Stainless-Package-Version: 3.54.0\r\n\
    X-Stainless-OS: Linux\r\n\
    X-Stainless-Arch: x64\r\n\
    X-Stainless-Runtime: CPython\r\n\
    X-Stainless-Runtime-Version: 3.12.3\r\n\
    Authorization: Bearer sk-noop\r\n\
    X-Stainless-Async: false\r\n\
    x-stainless-retry-count: 0\r\n\
    x-stainless-read-timeout: 600\r\n\
    Content-Length: 512\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    date: Sun, 22 Nov 2026 10:00:00 GMT\r\n\
    server: uvicorn\r\n\
    content-type: text/event-stream; charset=utf-8\r\n\
    transfer-encoding: chunked\r\n\r\n";

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request_head");
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    RequestHead::parse(REQUEST).unwrap();
    group.bench_function("pd_proxy", |bencher| {
        bencher.iter(|| RequestHead::parse(black_box(REQUEST)));
    });
    group.bench_function("httparse", |bencher| {
        bencher.iter(|| {
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut request = httparse::Request::new(&mut fields);
            request.parse(black_box(REQUEST)).unwrap().is_complete()
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("response_head");
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    ResponseHead::parse(RESPONSE).unwrap();
    group.bench_function("pd_proxy", |bencher| {
        bencher.iter(|| ResponseHead::parse(black_box(RESPONSE)));
    });
    group.bench_function("httparse", |bencher| {
        bencher.iter(|| {
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut fields);
            response.parse(black_box(RESPONSE)).unwrap().is_complete()
        });
    });
    group.finish();
}
