use rpc::{Streaming, service};

#[service]
trait Types {
    async fn plain(&self, numbers: Streaming<u64>);
    async fn fails(&self, numbers: Streaming<u64, String>);
}

fn call(client: &TypesClient) {
    drop(client.plain(rpc::iter(["one", "two"])));
    drop(client.plain(vec![1, 2]));
    drop(client.fails(rpc::iter([1, 2])));
}

fn main() {}
