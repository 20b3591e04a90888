//! What the vocabulary and the kernel cost, and the hot paths of the backends beneath.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::StreamExt;
use nexus_fs::{
    Builder, Digest, Kernel, ListOptions, MountUri, ReadOptions, VfsPath, WriteOptions,
};
use tokio::runtime::Runtime;

const FILE: &str = "/m/some/deep/directory/file.txt";

fn vocabulary(c: &mut Criterion) {
    c.bench_function("path/parse", |b| b.iter(|| VfsPath::parse(black_box(FILE))));
    let (path, mount) = (VfsPath::parse(FILE).unwrap(), VfsPath::parse("/m").unwrap());
    c.bench_function("path/strip_prefix", |b| b.iter(|| black_box(&path).strip_prefix(&mount)));
    c.bench_function("path/join", |b| b.iter(|| black_box(&path).join("name")));
    let uri = "s3://bucket/prefix?region=eu-central-1&endpoint=http%3A%2F%2Flocalhost";
    c.bench_function("uri/parse", |b| b.iter(|| MountUri::parse(black_box(uri))));
    let mut group = c.benchmark_group("digest");
    for size in [1 << 10, 1 << 20] {
        let content = vec![7_u8; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &content, |b, content| {
            b.iter(|| Digest::of(black_box(content)));
        });
    }
    group.finish();
}

/// A kernel with `count` mounts in memory, one of which is at `/m`.
fn mounted(runtime: &Runtime, count: usize) -> Kernel {
    let builder = Builder::new().mount_at("mem://m", "/m").unwrap();
    let builder = (1..count)
        .try_fold(builder, |builder, n| builder.mount_at("mem://other", format!("/other/{n}")))
        .unwrap();
    runtime.block_on(builder.open()).unwrap()
}

fn verbs(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let local =
        Builder::new().mount_at(format!("local://{}", folder.path().display()), "/m").unwrap();
    let local = runtime.block_on(local.open()).unwrap();
    for (name, kernel) in [("mem", mounted(&runtime, 1)), ("local", local)] {
        runtime.block_on(async {
            kernel.write(FILE, vec![7; 1024], &WriteOptions::default()).await.unwrap();
            for n in 0..1000 {
                kernel.write(format!("/m/list/{n}"), "", &WriteOptions::default()).await.unwrap();
            }
        });
        let mut group = c.benchmark_group(name);
        group.bench_function("stat", |b| {
            b.to_async(&runtime).iter(|| async { kernel.stat(FILE).await.unwrap() });
        });
        group.bench_function("read 1 KiB", |b| {
            b.to_async(&runtime).iter(|| async {
                let object = kernel.read(FILE, &ReadOptions::default()).await.unwrap();
                object.body.bytes(2048).await.unwrap()
            });
        });
        group.bench_function("write 1 KiB", |b| {
            b.to_async(&runtime).iter(|| async {
                kernel.write(FILE, vec![7; 1024], &WriteOptions::default()).await.unwrap()
            });
        });
        group.bench_function("list 1,000", |b| {
            b.to_async(&runtime).iter(|| async {
                let listing = kernel.list("/m/list", &ListOptions::default()).await.unwrap();
                assert_eq!(listing.count().await, 1000);
            });
        });
        group.finish();
    }
}

fn routing(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = c.benchmark_group("routing, stat in memory");
    for count in [1, 10, 1000] {
        let kernel = mounted(&runtime, count);
        let options = WriteOptions::default();
        runtime.block_on(kernel.write(FILE, "x", &options)).unwrap();
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.to_async(&runtime).iter(|| async { kernel.stat(FILE).await.unwrap() });
        });
    }
    group.finish();
}

criterion_group!(benches, vocabulary, routing, verbs);
criterion_main!(benches);
