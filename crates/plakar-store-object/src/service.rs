//! A service, as opendal is told of it: what the place says, what the options say, what the environment says.

#[cfg(any(feature = "azblob", feature = "b2", feature = "gcs"))]
use crate::options::Options;
use crate::options::{settled_endpoint, variable};
use crate::place::{Place, Service};
use crate::way::Way;
use opendal::{HttpTransporter, Operator, services};

/// What is asked for a bucket's region when nobody says it.
const ANYWHERE: &str = "https://s3.us-east-1.amazonaws.com";

/// The operator of a place, which sends its requests through `transport`.
///
/// # Errors
/// Why there is none, in words.
pub async fn operator(place: &Place, way: &Way, transport: HttpTransporter) -> Result<Operator, String> {
    if let Some(feature) = place.service.feature().filter(|_| !place.service.is_here()) {
        return Err(format!(
            "this plakar was built without {}://: its feature '{feature}' is off",
            place.service.scheme()
        ));
    }
    let options = &way.options;
    let endpoint = settled_endpoint(place, options);
    let operator = match place.service {
        Service::S3 => s3(place, way, endpoint, &transport).await,
        #[cfg(feature = "azblob")]
        Service::Azblob => azblob(place, options, endpoint)?,
        #[cfg(feature = "gcs")]
        Service::Gcs => gcs(place, options, endpoint),
        #[cfg(feature = "b2")]
        Service::B2 => b2(place, options)?,
        #[cfg(feature = "webdav")]
        Service::Webdav | Service::Webdavs => webdav(place),
        #[allow(unreachable_patterns, reason = "with all features nothing is left")]
        _ => unreachable!("it was asked for above"),
    };
    let operator = operator.map_err(|e| e.message().to_owned())?;
    let context = operator.base_context().with_http_transport(transport);
    Ok(operator.with_context(context))
}

/// The prefix, as opendal has it.
fn root(place: &Place) -> String {
    format!("/{}", place.prefix)
}

async fn s3(
    place: &Place,
    way: &Way,
    endpoint: Option<String>,
    transport: &HttpTransporter,
) -> opendal::Result<Operator> {
    let options = &way.options;
    let region =
        options.get("region").map(str::to_owned).or_else(|| variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
    let region = match (region, &endpoint) {
        (Some(region), _) => region,
        (None, Some(endpoint)) if endpoint.ends_with(".r2.cloudflarestorage.com") => "auto".into(),
        (None, Some(_)) => "us-east-1".into(),
        (None, None) => region_of(&place.bucket, transport).await.unwrap_or_else(|| "us-east-1".into()),
    };
    let mut service = services::S3::default().root(&root(place)).bucket(&place.bucket).region(&region);
    // Its name is a part of the host's, for which there is a certificate as long as there is no dot in it.
    let virtual_host = endpoint.is_none() && !place.bucket.contains('.');
    if !options.says("path-style").map_or(!virtual_host, |path_style| path_style) {
        service = service.enable_virtual_host_style();
    }
    let amazon = || format!("https://s3.{region}.amazonaws.com");
    service = service.endpoint(&endpoint.unwrap_or_else(amazon));
    if let Some(keys) = &way.keys {
        service = service.access_key_id(&keys.id).secret_access_key(&keys.secret);
    }
    if let Some(profile) = options.get("profile") {
        service = service.profile(profile);
    }
    if options.says("anonymous") == Some(true) {
        service = service.skip_signature();
    }
    match options.get("checksum").unwrap_or("md5") {
        "none" => {}
        checksum => service = service.checksum_algorithm(checksum),
    }
    Operator::new(service)
}

/// The region of a bucket at Amazon, which tells it to everybody.
async fn region_of(bucket: &str, transport: &HttpTransporter) -> Option<String> {
    let request = http::Request::head(format!("{ANYWHERE}/{bucket}")).body(opendal::Buffer::new()).ok()?;
    let answer = transport.send(request).await.ok()?;
    let region = answer.headers().get("x-amz-bucket-region")?.to_str().ok()?;
    Some(region.to_owned())
}

#[cfg(feature = "azblob")]
fn azblob(
    place: &Place,
    options: &Options,
    endpoint: Option<String>,
) -> Result<opendal::Result<Operator>, String> {
    let account = options.get("account").map(str::to_owned);
    let account = account.or_else(|| variable(&["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"]));
    let mut service = services::Azblob::default().root(&root(place)).container(&place.bucket);
    service = match (endpoint, &account) {
        (Some(endpoint), _) => service.endpoint(&endpoint),
        (None, Some(account)) => service.endpoint(&format!("https://{account}.blob.core.windows.net")),
        (None, None) => {
            return Err(
                "which storage account? The option 'account' says it, or AZURE_STORAGE_ACCOUNT_NAME".into()
            );
        }
    };
    if let Some(account) = account {
        service = service.account_name(&account);
    }
    if let Some(key) = variable(&["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"]) {
        service = service.account_key(&key);
    }
    if let Some(token) = variable(&["AZURE_STORAGE_SAS_TOKEN"]) {
        service = service.sas_token(&token);
    }
    if options.says("anonymous") == Some(true) {
        service = service.skip_signature();
    }
    Ok(Operator::new(service))
}

#[cfg(feature = "gcs")]
fn gcs(place: &Place, options: &Options, endpoint: Option<String>) -> opendal::Result<Operator> {
    let mut service = services::Gcs::default().root(&root(place)).bucket(&place.bucket);
    if let Some(endpoint) = endpoint {
        service = service.endpoint(&endpoint);
    }
    if options.says("anonymous") == Some(true) {
        service = service.skip_signature();
    }
    Operator::new(service)
}

#[cfg(feature = "b2")]
fn b2(place: &Place, options: &Options) -> Result<opendal::Result<Operator>, String> {
    let Some(id) = options.get("bucket-id") else {
        return Err("which bucket is it? The option 'bucket-id' says it, as 'b2 bucket get' shows it".into());
    };
    let (Some(key_id), Some(key)) = (variable(&["B2_APPLICATION_KEY_ID"]), variable(&["B2_APPLICATION_KEY"]))
    else {
        return Err("no credentials: they come from B2_APPLICATION_KEY_ID and B2_APPLICATION_KEY".into());
    };
    let service = services::B2::default().root(&root(place)).bucket(&place.bucket).bucket_id(id);
    Ok(Operator::new(service.application_key_id(&key_id).application_key(&key)))
}

#[cfg(feature = "webdav")]
fn webdav(place: &Place) -> opendal::Result<Operator> {
    let scheme = if place.service == Service::Webdav { "http" } else { "https" };
    let mut service =
        services::Webdav::default().endpoint(&format!("{scheme}://{}", place.bucket)).root(&root(place));
    if let Some(user) = variable(&["PLAKAR_WEBDAV_USER"]) {
        service = service.username(&user);
    }
    if let Some(password) = variable(&["PLAKAR_WEBDAV_PASSWORD"]) {
        service = service.password(&password);
    }
    Operator::new(service)
}

/// Where credentials come from, for whoever has none.
pub fn credentials_hint(service: Service) -> &'static str {
    match service {
        Service::S3 => {
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE with ~/.aws/credentials, or the machine's own role; \
             without any the option 'anonymous=yes' signs nothing"
        }
        Service::Azblob => {
            "AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or the machine's own identity"
        }
        Service::Gcs => "GOOGLE_APPLICATION_CREDENTIALS, or the machine's own account",
        Service::B2 => "B2_APPLICATION_KEY_ID and B2_APPLICATION_KEY",
        Service::Webdav | Service::Webdavs => "PLAKAR_WEBDAV_USER and PLAKAR_WEBDAV_PASSWORD",
    }
}
