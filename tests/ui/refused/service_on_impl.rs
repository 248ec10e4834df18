use rpc::service;

trait Calculator {
    async fn method(&self);
}
struct Exact;

#[service]
impl Calculator for Exact {
    async fn method(&self) {}
}

fn main() {}
