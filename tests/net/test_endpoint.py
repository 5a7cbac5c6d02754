"""Where to connect and as whom: what is accepted, what is derived, what is never shown."""

from __future__ import annotations

import pytest

from triplane import ConfigError, Endpoint

SECRET = "sk-canary-abcdef0123456789"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://api.openai.com/v1", "wss://api.openai.com/v1/responses"),
        ("https://api.openai.com/v1/", "wss://api.openai.com/v1/responses"),
        ("wss://api.openai.com/v1/responses", "wss://api.openai.com/v1/responses"),
        ("http://127.0.0.1:8080/v1", "ws://127.0.0.1:8080/v1/responses"),
        ("http://host/custom?z=1", "ws://host/custom/responses?z=1"),
        ("ws://[::1]:9/v1#fragment", "ws://[::1]:9/v1/responses"),
        # Only ASCII can be in a request.
        ("ws://host/é/%7Ea?q=ü", "ws://host/%C3%A9/%7Ea/responses?q=%C3%BC"),
        ("ws://bücher.example:9/v1", "ws://xn--bcher-kva.example:9/v1/responses"),
        ("ws://BÜCHER.example/v1", "ws://xn--bcher-kva.example/v1/responses"),
    ],
)
def test_the_url_is_derived_as_openais_client_does(given, url) -> None:
    assert url == Endpoint(given).url


def test_the_parts_of_a_url() -> None:
    endpoint = Endpoint("https://[::1]:8443/v1?x=1")

    assert ("::1", 8443, True) == (endpoint.host, endpoint.port, endpoint.uses_tls)
    assert ("[::1]:8443", "/v1/responses?x=1") == (endpoint.authority, endpoint.resource)
    assert (443, 80) == (Endpoint("wss://h/v1").port, Endpoint("ws://h/v1").port)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/v1", "begins with wss://"),
        ("api.openai.com/v1", "begins with wss://"),
        ("", "begins with wss://"),
        ("wss://", "needs a host"),
        ("wss://host:0/v1", "a port other than 0"),
        ("wss://host:70000/v1", "its port is a number"),
        (f"https://host:{SECRET}/v1", "its port is a number"),
        (f"https://user:{SECRET}@host/v1", "must not hold credentials"),
        ("wss://ho st/v1", "without spaces"),
        ("wss://host/v1\r\nX: y", "without spaces and control characters"),
        (None, "must be text"),
        ("ws://é..example/v1", "cannot be a name"),
        # strasse.example by the rules of 2003, and xn--strae-oqa.example by today's.
        ("wss://straße.example/v1", "could be two; give its xn-- form"),
    ],
)
def test_a_wrong_url_is_one_clear_error(url, words) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Endpoint(url)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("key", ["", "a\r\nb", "ключ", 5, f"{SECRET}\n"])
def test_a_wrong_key_is_refused_and_not_repeated(key) -> None:
    with pytest.raises(ConfigError, match="api_key must be text") as caught:
        Endpoint("ws://host/v1", api_key=key)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "x"},
        {"host": "x"},
        {"a b": "x"},
        {"X": "a\nb"},
        {"X": "ü"},
        {"": "x"},
        None,
        5,
        ["x"],
    ],
)
def test_a_wrong_header_is_refused(headers) -> None:
    with pytest.raises(ConfigError, match="header"):
        Endpoint("ws://host/v1", headers=headers)


@pytest.mark.parametrize("age", [0, -1, float("nan"), 10**400, True, "60"])
def test_an_age_that_no_connection_can_reach_is_refused(age) -> None:
    with pytest.raises(ConfigError, match="max_age must be"):
        Endpoint("ws://host/v1", max_age=age)


def test_nothing_secret_is_shown() -> None:
    endpoint = Endpoint("ws://host/v1", api_key=SECRET, headers={"X-Secret": SECRET, "X-Other": "1"})

    assert SECRET not in repr(endpoint)
    assert "X-Secret" in repr(endpoint)
    assert SECRET not in repr(endpoint.headers)


def test_the_key_and_the_headers_go_up() -> None:
    endpoint = Endpoint("ws://host/v1", api_key="k", headers={"X-A": "1"})

    assert [(b"X-A", b"1"), (b"Authorization", b"Bearer k")] == endpoint.upgrade_headers()
    assert [] == Endpoint("ws://host/v1").upgrade_headers()


def test_equal_endpoints_share_connections_and_others_do_not() -> None:
    one = Endpoint("ws://host/v1", api_key="a", headers={"X": "1", "Y": "2"})

    assert one == Endpoint("http://host/v1/", api_key="a", headers={"Y": "2", "X": "1"})
    assert hash(one) == hash(Endpoint("http://host/v1/", api_key="a", headers={"Y": "2", "X": "1"}))
    assert one != Endpoint("ws://host/v1", api_key="b", headers={"X": "1", "Y": "2"})
    assert one != Endpoint("ws://host/v1", api_key="a", headers={"X": "1"})


@pytest.mark.parametrize(("option", "value"), [("wire", "carrier-pigeon"), ("transport", "tcp")])
def test_a_wire_that_is_not_there_is_refused(option, value) -> None:
    with pytest.raises(ConfigError, match=f"{option}="):
        Endpoint("ws://host/v1", **{option: value})


def test_from_the_environment() -> None:
    environ = {"OPENAI_API_KEY": "k", "OPENAI_ORG_ID": "o", "OPENAI_PROJECT_ID": "p"}

    endpoint = Endpoint.from_env(environ)

    assert ("wss://api.openai.com/v1/responses", "k") == (endpoint.url, endpoint.api_key)
    assert {"OpenAI-Organization": "o", "OpenAI-Project": "p"} == dict(endpoint.headers)
    assert "ws://h/v1/responses" == Endpoint.from_env({**environ, "OPENAI_BASE_URL": "http://h/v1"}).url


def test_without_a_key_in_the_environment() -> None:
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY is not set; set it, or pass an Endpoint"):
        Endpoint.from_env({})


def test_the_named_endpoints() -> None:
    assert "wss://res.openai.azure.com/openai/v1/responses" == Endpoint.azure("res", api_key="k").url
    assert "wss://api.x.ai/v1/responses" == Endpoint.xai("k").url
    assert "ws://127.0.0.1:99/v1/responses" == Endpoint.local(99).url


@pytest.mark.parametrize("region", ["us", "eu", "ae", "au", "in", "jp"])
def test_where_data_stays(region) -> None:
    assert f"wss://{region}.api.openai.com/v1/responses" == Endpoint.openai("k", region=region).url


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"region": "mars"}, "region= takes one of us, eu, ae, au, in, jp"),
        ({"region": "eu", "base_url": "https://h/v1"}, "give one of them"),
    ],
)
def test_a_region_that_cannot_be_is_refused(settings, words) -> None:
    with pytest.raises(ConfigError, match=words):
        Endpoint.openai("k", **settings)


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        ("my-resource", "wss://my-resource.openai.azure.com/openai/v1/responses"),
        ("https://r.openai.azure.com/", "wss://r.openai.azure.com/openai/v1/responses"),
        ("https://r.openai.azure.com/openai/v1/", "wss://r.openai.azure.com/openai/v1/responses"),
        ("https://r.openai.azure.us", "wss://r.openai.azure.us/openai/v1/responses"),
    ],
)
def test_an_azure_resource_by_name_or_by_url(resource, url) -> None:
    endpoint = Endpoint.azure(resource, api_key="k")

    assert (url, 55 * 60) == (endpoint.url, endpoint.max_age)
    # A key and an Entra token alike.
    assert [(b"Authorization", b"Bearer k")] == endpoint.upgrade_headers()


@pytest.mark.parametrize("resource", ["", "evil.example/", "a.b", "x@y", "-x", "a b", "r?", 3, None])
def test_what_is_no_azure_resource_gets_no_key(resource) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of an Azure resource"):
        Endpoint.azure(resource, api_key="k")


def test_a_url_of_azure_that_is_none() -> None:
    with pytest.raises(ConfigError, match="URL"):
        Endpoint.azure("https://[r", api_key="k")


def test_the_other_services_from_the_environment() -> None:
    environ = {
        "OPENAI_API_KEY": "o",
        "AZURE_OPENAI_API_KEY": "a",
        "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com",
        "XAI_API_KEY": "x",
    }

    assert Endpoint.azure("r", api_key="a") == Endpoint.from_env(environ, service="azure")
    assert Endpoint.xai("x") == Endpoint.from_env(environ, service="xai")
    assert Endpoint.openai("o") == Endpoint.from_env(environ)


@pytest.mark.parametrize(
    ("service", "environ", "name"),
    [
        ("azure", {"AZURE_OPENAI_API_KEY": "a"}, "AZURE_OPENAI_ENDPOINT"),
        ("azure", {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com"}, "AZURE_OPENAI_API_KEY"),
        ("xai", {"OPENAI_API_KEY": "o"}, "XAI_API_KEY"),
    ],
)
def test_nothing_goes_to_a_service_that_was_not_named(service, environ, name) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is not set"):
        Endpoint.from_env(environ, service=service)


def test_an_unknown_service_is_refused() -> None:
    with pytest.raises(ConfigError, match='takes "openai", "azure" or "xai"'):
        Endpoint.from_env({}, service="other")  # type: ignore[arg-type]
