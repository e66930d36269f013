//! The STAC API: every item exactly once by POST and GET, filters, and the shape of Earth Search v1.

use serde_json::{Value, json};
use testworld::{Region, Scene, World};

use crate::{client, get_json, served};

async fn post(url: &str, body: &Value) -> Value {
    client().post(url).json(body).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

fn next(page: &Value) -> Option<&Value> {
    page["links"].as_array().unwrap().iter().find(|link| link["rel"] == "next")
}

fn ids(page: &Value) -> Vec<String> {
    page["features"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Ids of all pages and the number of pages, following `next` as it says.
async fn crawl(first: Value) -> (Vec<String>, usize) {
    let (mut page, mut all, mut pages) = (first, Vec::new(), 1);
    loop {
        all.extend(ids(&page));
        let Some(link) = next(&page).cloned() else { return (all, pages) };
        let href = link["href"].as_str().unwrap().to_owned();
        page = if link["method"] == "POST" {
            assert_eq!(link["merge"], false);
            post(&href, &link["body"]).await
        } else {
            get_json(&href).await
        };
        pages += 1;
    }
}

fn expected(world: &World, keep: impl Fn(&Scene) -> bool) -> Vec<String> {
    let mut ids: Vec<String> =
        Region::ALL.iter().flat_map(|&r| world.scenes(r)).filter(|s| keep(s)).map(|s| s.id.clone()).collect();
    ids.sort();
    ids
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[tokio::test]
async fn paging_gives_every_item_once() {
    let (world, server) = served();
    let search = format!("{}/search", server.stac_url());
    let all = expected(&world, |_| true);
    let body = json!({ "collections": ["sentinel-2-l2a"], "limit": 100 });
    let (posted, pages) = crawl(post(&search, &body).await).await;
    assert_eq!(sorted(posted.clone()), all);
    // The last full or partial page still links to an empty one.
    assert_eq!(pages, all.len().div_ceil(100) + 1);
    let (got, _) = crawl(get_json(&format!("{search}?limit=250&collections=sentinel-2-l2a")).await).await;
    assert_eq!(got, posted);
    let (items, _) =
        crawl(get_json(&format!("{}/collections/sentinel-2-l2a/items?limit=500", server.stac_url())).await)
            .await;
    assert_eq!(items, posted);
}

#[tokio::test]
async fn filters_choose() {
    let (world, server) = served();
    let search = format!("{}/search", server.stac_url());
    let bbox = world.active_bbox(Region::Europe);
    let centre = bbox.center();
    let in_2020 = |s: &Scene| s.region == Region::Europe && s.date.format("%Y").to_string() == "2020";
    let span = "2020-01-01T00:00:00Z/2020-12-31T23:59:59Z";
    let corner = [bbox.x_min, bbox.y_min, centre.x, centre.y];
    let body = json!({ "bbox": corner, "datetime": span, "limit": 500 });
    assert_eq!(sorted(ids(&post(&search, &body).await)), expected(&world, in_2020));

    let body = json!({
        "intersects": { "type": "Point", "coordinates": [centre.x, centre.y] },
        "datetime": "2020-01-01/2020-12-31",
        "query": { "eo:cloud_cover": { "lt": 20 }, "grid:code": { "eq": "MGRS-32UPB" } },
        "limit": 500,
    });
    let clear = expected(&world, |s| in_2020(s) && s.cloud_share < 0.2);
    assert!(!clear.is_empty());
    assert_eq!(sorted(ids(&post(&search, &body).await)), clear);

    let query = format!(
        "bbox={},{},{},{}&datetime=2020-01-01/..&limit=5&query=",
        corner[0], corner[1], corner[2], corner[3]
    );
    let (got, _) =
        crawl(get_json(&format!("{search}?{query}%7B%22eo:cloud_cover%22:%7B%22lte%22:20%7D%7D")).await)
            .await;
    let since = expected(&world, |s| {
        s.region == Region::Europe
            && s.cloud_share <= 0.2
            && s.date.format("%Y").to_string().as_str() >= "2020"
    });
    assert_eq!(sorted(got), since);

    assert!(ids(&post(&search, &json!({ "bbox": [0, 0, 1, 1] })).await).is_empty());
    assert!(ids(&post(&search, &json!({ "collections": ["landsat-c2-l2"] })).await).is_empty());
    for wrong in
        [json!({"bbox": [1, 2]}), json!({"limit": 0}), json!({"datetime": "yesterday"}), json!({"next": "x"})]
    {
        assert_eq!(client().post(&search).json(&wrong).send().await.unwrap().status(), 400, "{wrong}");
    }
}

#[tokio::test]
async fn the_archive_has_its_peculiarities() {
    let (world, _server) = served();
    for region in Region::ALL {
        let scenes = world.scenes(region);
        let twice: Vec<&Scene> = scenes.iter().filter(|s| s.superseded).collect();
        assert!(!twice.is_empty());
        for old in twice {
            let new = scenes.iter().find(|s| s.date == old.date && s.sequence == 1).unwrap();
            assert!(
                new.baseline > old.baseline && new.processed > old.processed && new.datetime == old.datetime
            );
        }
        let missing = world.missing_dates(region);
        assert!(!missing.is_empty());
        for date in missing {
            assert!(!scenes.iter().any(|s| s.date == date));
            assert!(scenes.iter().any(|s| s.date == date + chrono::Duration::days(5)));
        }
        let shifted = scenes.iter().filter(|s| s.stored_offset == 1000).count();
        let removed = scenes.iter().filter(|s| s.baseline == "04.00" && s.offset_applied).count();
        assert!(shifted > 20 && removed > 20, "{shifted} {removed}");
        let clear = scenes.iter().filter(|s| s.cloud_share < 0.2).count() as f64 / scenes.len() as f64;
        println!("{region}: {} scenes, {clear:.2} clear", scenes.len());
        assert!((0.15..0.8).contains(&clear), "{region} {clear}");
    }
}

#[tokio::test]
async fn items_have_every_member_of_earth_search() {
    let (world, server) = served();
    let scene = &world.scenes(Region::Africa)[100];
    let item =
        get_json(&format!("{}/collections/sentinel-2-l2a/items/{}", server.stac_url(), scene.id)).await;
    for key in [
        "created",
        "platform",
        "constellation",
        "instruments",
        "eo:cloud_cover",
        "proj:epsg",
        "mgrs:utm_zone",
        "mgrs:latitude_band",
        "mgrs:grid_square",
        "grid:code",
        "view:sun_azimuth",
        "view:sun_elevation",
        "s2:processing_baseline",
        "s2:product_uri",
        "s2:generation_time",
        "s2:datatake_id",
        "s2:sequence",
        "datetime",
        "earthsearch:boa_offset_applied",
        "processing:software",
        "updated",
    ] {
        assert!(!item["properties"][key].is_null(), "{key}");
    }
    assert_eq!(item["properties"]["proj:epsg"], 32735);
    assert_eq!(item["properties"]["mgrs:grid_square"], "MQ");
    assert_eq!(item["assets"]["red"]["proj:transform"], json!([10, 0, 399960, 0, -10, 7500040]));
    assert_eq!(item["assets"]["scl"]["proj:shape"], json!([5490, 5490]));
    let href = item["assets"]["nir"]["href"].as_str().unwrap();
    assert!(
        href.starts_with(server.base_url()) && href.ends_with(&format!("{}/nir.tif", scene.id)),
        "{href}"
    );
    let landing = get_json(&server.stac_url()).await;
    assert!(landing["links"].as_array().unwrap().iter().any(|link| link["rel"] == "search"));
    assert_eq!(
        get_json(&format!("{}/collections", server.stac_url())).await["collections"][0]["id"],
        "sentinel-2-l2a"
    );
    let absent = client().get(format!("{}/collections/other", server.stac_url())).send().await.unwrap();
    assert_eq!(absent.status(), 404);
}
