//! Tests of the served world, over HTTP as a client sees it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archives;
mod cli;
mod cogs;
mod faults;
mod files;
mod filled;
mod stac;

use testworld::{ServeOptions, Server, World, serve};

/// A server of seed 42 without faults.
fn served() -> (World, Server) {
    let world = World::new(42).unwrap();
    let server = serve(world.clone(), ServeOptions::default()).unwrap();
    (world, server)
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn get_json(url: &str) -> serde_json::Value {
    client().get(url).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

async fn get_bytes(url: &str) -> Vec<u8> {
    client().get(url).send().await.unwrap().error_for_status().unwrap().bytes().await.unwrap().to_vec()
}
