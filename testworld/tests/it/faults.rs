//! Faults: each kind looks as it should, and passes after its tries.

use std::time::Duration;

use testworld::{Region, ServeOptions, Server, World, serve};

use crate::{client, get_json};

fn faulty(spec: &str) -> (String, Server) {
    let world = World::new(42).unwrap();
    let scene = world.scenes(Region::Africa)[0].clone();
    let server =
        serve(world, ServeOptions { faults: spec.parse().unwrap(), ..ServeOptions::default() }).unwrap();
    let url =
        format!("{}/cogs/35KMQ/{}/{}/scl.tif", server.base_url(), scene.date.format("%Y%m%d"), scene.id);
    (url, server)
}

async fn part(url: &str) -> reqwest::Result<reqwest::Response> {
    client().get(url).header("range", "bytes=0-999").timeout(Duration::from_secs(20)).send().await
}

#[tokio::test]
async fn statuses() {
    for (spec, status) in [("503=1", 503), ("429=1", 429), ("expire=1", 403)] {
        let (url, server) = faulty(spec);
        let first = part(&url).await.unwrap();
        assert_eq!(first.status(), status);
        assert_eq!(first.headers().contains_key("retry-after"), status == 429);
        assert_eq!(part(&url).await.unwrap().status(), 206);
        assert_eq!(server.stats().faults, 1);
        assert_eq!(server.stats().requests, 2);
    }
}

#[tokio::test]
async fn tries_are_counted_per_range() {
    let (url, server) = faulty("503=1,tries=2");
    assert_eq!(part(&url).await.unwrap().status(), 503);
    let other = client().get(&url).header("range", "bytes=5-9").send().await.unwrap();
    assert_eq!(other.status(), 503);
    assert_eq!(part(&url).await.unwrap().status(), 503);
    assert_eq!(part(&url).await.unwrap().status(), 206);
    let asked = server.stats().requests;
    let forget = client().post(format!("{}/faults/forget", server.base_url())).send().await.unwrap();
    assert_eq!((forget.status().as_u16(), server.stats().requests), (204, asked));
    assert_eq!(part(&url).await.unwrap().status(), 503);
}

#[tokio::test]
async fn broken_bodies_are_errors_to_the_client() {
    for spec in ["truncate=1", "reset=1", "stall=1,stall_s=0.3"] {
        let (url, _server) = faulty(spec);
        let broken = match part(&url).await {
            Err(_) => true,
            Ok(response) => response.bytes().await.is_err(),
        };
        assert!(broken, "{spec}");
        assert_eq!(part(&url).await.unwrap().bytes().await.unwrap().len(), 1000, "{spec}");
    }
}

#[tokio::test]
async fn wrong_bytes_look_right() {
    let (url, _server) = faulty("wrong_length=1");
    let short = part(&url).await.unwrap();
    assert_eq!(short.status(), 206);
    assert!(short.headers()["content-range"].to_str().unwrap().starts_with("bytes 0-999/"));
    assert_eq!(short.bytes().await.unwrap().len(), 500);
    let (url, _server) = faulty("corrupt=1");
    let wrong = part(&url).await.unwrap().bytes().await.unwrap();
    let right = part(&url).await.unwrap().bytes().await.unwrap();
    assert_eq!(wrong.len(), right.len());
    assert_eq!(wrong.iter().zip(&right).filter(|(a, b)| a != b).count(), 16);
}

#[tokio::test]
async fn gone_files_stay_gone_and_others_are_served() {
    let (url, server) = faulty("gone=/scl.tif,gone=/climate/");
    for _ in 0..3 {
        assert_eq!(part(&url).await.unwrap().status(), 404);
    }
    assert_eq!(part(&url.replace("scl", "nir08")).await.unwrap().status(), 206);
    assert_eq!(part(&format!("{}/climate/africa.tif", server.base_url())).await.unwrap().status(), 404);
    // A folder is not a file.
    assert_eq!(part(&format!("{}/climate/", server.base_url())).await.unwrap().status(), 200);
    assert_eq!((server.stats().faults, server.stats().requests), (4, 6));
}

#[tokio::test]
async fn tokens_open_files_until_they_expire() {
    let (url, server) = faulty("token_s=4");
    assert_eq!(part(&url).await.unwrap().status(), 403);
    let answer = get_json(&format!("{}/sas/token/sentinel-2-l2a", server.base_url())).await;
    let token = answer["token"].as_str().unwrap();
    let signed = format!("{url}?{token}");
    assert_eq!(part(&signed).await.unwrap().status(), 206);
    assert_eq!(part(&format!("{url}?{}", token.replace("sig=", "sig=0"))).await.unwrap().status(), 403);
    let expiry: chrono::DateTime<chrono::Utc> = answer["msft:expiry"].as_str().unwrap().parse().unwrap();
    // A busy machine may have let it pass already.
    let left = (expiry - chrono::Utc::now()).to_std().unwrap_or_default();
    assert!(left <= Duration::from_secs(5), "{left:?}");
    tokio::time::sleep(left + Duration::from_millis(50)).await;
    assert_eq!(part(&signed).await.unwrap().status(), 403);
    // Other files and the catalogue need none, and addresses in it are not signed.
    assert_eq!(part(&format!("{}/climate/africa.tif", server.base_url())).await.unwrap().status(), 206);
    let item = get_json(&format!("{}/search?limit=1", server.stac_url())).await;
    assert!(item["features"][0]["assets"]["red"]["href"].as_str().unwrap().ends_with("/red.tif"));
    let (_, open) = faulty("");
    let none = client().get(format!("{}/sas/token/x", open.base_url())).send().await.unwrap();
    assert_eq!(none.status(), 404);
}

#[tokio::test]
async fn a_fault_strikes_once_whatever_the_token() {
    let (url, server) = faulty("503=1,token_s=60");
    let sas = format!("{}/sas/token/x", server.base_url());
    assert_eq!(client().get(&sas).send().await.unwrap().status(), 503);
    let first = get_json(&sas).await["token"].as_str().unwrap().to_owned();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let second = get_json(&sas).await["token"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(part(&format!("{url}?{first}")).await.unwrap().status(), 503);
    assert_eq!(part(&format!("{url}?{second}")).await.unwrap().status(), 206);
}

#[tokio::test]
async fn what_was_cut_off_is_not_counted_as_sent() {
    let (url, server) = faulty("truncate=1");
    assert!(part(&url).await.unwrap().bytes().await.is_err());
    let stats = server.stats();
    assert_eq!((stats.file_bytes, stats.sent_bytes), (1000, 500));
    part(&url).await.unwrap().bytes().await.unwrap();
    assert_eq!(server.stats().sent_bytes, 1500);
}

#[tokio::test]
async fn only_later_pages_fail_on_page2_500() {
    let (_, server) = faulty("page2_500=1");
    let search = format!("{}/search", server.stac_url());
    let first = client().post(&search).json(&serde_json::json!({"limit": 5})).send().await.unwrap();
    assert_eq!(first.status(), 200);
    let page: serde_json::Value = first.json().await.unwrap();
    let body = &page["links"][0]["body"];
    assert_eq!(client().post(&search).json(body).send().await.unwrap().status(), 500);
    assert_eq!(client().post(&search).json(body).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn latency_delays_and_a_taken_port_is_an_error() {
    let options = ServeOptions { latency: Duration::from_millis(120), ..ServeOptions::default() };
    let server = serve(World::new(1).unwrap(), options).unwrap();
    let start = std::time::Instant::now();
    client().get(server.base_url()).send().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(120));
    let port = server.base_url().rsplit(':').next().unwrap().parse().unwrap();
    let taken = serve(World::new(1).unwrap(), ServeOptions { port, ..ServeOptions::default() });
    assert!(taken.unwrap_err().to_string().contains("127.0.0.1"));
    drop(server);
    std::thread::sleep(Duration::from_millis(300));
    assert!(serve(World::new(1).unwrap(), ServeOptions { port, ..ServeOptions::default() }).is_ok());
}
