"""OpenAI's, Anthropic's and Stripe's SDKs, unmodified but for base URL and key: the key is a JWT or a vault token, and
the provider sees its own key."""

import importlib.metadata

import anthropic
import openai
import stripe

import provider
from jwt_login import ISSUER, public, signed
from steps import raises, step

SERVICES = {
    "openai": {
        "credential": {"path": "secret/data/providers", "field": "openai"},
        "inject": {"header": "authorization", "template": "Bearer {{credential}}"},
    },
    "anthropic": {
        "credential": {"path": "secret/data/providers", "field": "anthropic"},
        "inject": {"header": "x-api-key", "template": "{{credential}}"},
        "caller_headers": ["x-api-key", "authorization"],
    },
    "stripe": {
        "credential": {"path": "secret/data/providers", "field": "stripe"},
        "inject": {"header": "authorization", "template": "Bearer {{credential}}"},
    },
}
QUESTION = [{"role": "user", "content": "Hello?"}]


def write(w, path, body):
    return w.client.adapter.post("/v1/" + path, json=body)


@step("sdks: a provider, its keys, and a service for each")
def _(w):
    for package in ("openai", "anthropic", "stripe"):
        print(f"        {package} {importlib.metadata.version(package)}")
    w.provider = provider.Provider(*w.pair)
    w.client.secrets.kv.v2.create_or_update_secret("providers", {
        "openai": provider.OPENAI_KEY, "anthropic": provider.ANTHROPIC_KEY, "stripe": provider.STRIPE_KEY})
    w.client.sys.enable_secrets_engine("gateway", path="gateway")
    w.client.sys.enable_auth_method("jwt", path="apps")
    w.client.auth.jwt.configure(jwt_validation_pubkeys=[public(w.ec)], bound_issuer=ISSUER, path="apps")
    w.client.auth.jwt.create_role(
        "sdk", user_claim="sub", allowed_redirect_uris=[], role_type="jwt", bound_audiences=["vault"],
        token_policies=["sdk"], path="apps")
    w.client.sys.create_or_update_policy("sdk", 'path "gateway/proxy/*" { capabilities = ["invoke"] }')
    with open(w.pair[0]) as f:
        certificate = f.read()
    for name, service in SERVICES.items():
        write(w, "gateway/services/" + name, {
            **service, "upstream": w.provider.url, "ca_cert": certificate, "allow_private": True,
            "allow": [{"path": "/v1/*"}],
            "auth": [{"type": "jwt", "mount": "apps", "role": "sdk"}, {"type": "token"}]})
    w.jwt = signed(w.ec)
    w.app = w.client.auth.token.create(policies=["sdk"])["auth"]["client_token"]
    w.base = f"https://{w.daemon.gateway}"


def checked(w, name, value, *passed):
    """The provider's last call carried its own key, nothing of the caller's, and these headers."""
    _, _, headers = w.provider.seen[-1]
    assert headers[name] == value, headers
    text = str(headers)
    assert w.jwt not in text and w.app not in text, headers
    missing = [p for p in passed if p not in headers]
    assert not missing, f"{missing} did not arrive: {headers}"


@step("sdks: OpenAI, whole and streamed")
def _(w):
    client = openai.OpenAI(base_url=w.base + "/openai/v1", api_key=w.jwt, organization="org-1", project="proj-1")
    whole = client.chat.completions.create(model="m", messages=QUESTION)
    assert whole.choices[0].message.content == "Hello", whole
    assert [m.id for m in client.models.list()] == ["m"]
    parts = client.chat.completions.create(model="m", messages=QUESTION, stream=True)
    assert "".join(p.choices[0].delta.content or "" for p in parts) == "Hello"
    checked(w, "authorization", "Bearer " + provider.OPENAI_KEY,
            "openai-organization", "openai-project", "x-stainless-lang", "user-agent")


@step("sdks: Anthropic, whole and streamed, with a key and with a token")
def _(w):
    for credential in ({"api_key": w.jwt}, {"api_key": None, "auth_token": w.app}):
        client = anthropic.Anthropic(base_url=w.base + "/anthropic", **credential)
        whole = client.messages.create(model="m", max_tokens=9, messages=QUESTION)
        assert whole.content[0].text == "Hello", whole
        with client.messages.stream(model="m", max_tokens=9, messages=QUESTION) as stream:
            assert "".join(stream.text_stream) == "Hello"
        checked(w, "x-api-key", provider.ANTHROPIC_KEY, "anthropic-version", "x-stainless-lang")
        assert "authorization" not in w.provider.seen[-1][2]


@step("sdks: Stripe, whole and streamed")
def _(w):
    base = w.base + "/stripe"
    client = stripe.StripeClient(w.app, base_addresses={"api": base, "files": base})
    made = client.v1.customers.create({"email": "a@example.com"}, {"idempotency_key": "once"})
    assert made.id == "cus_1", made
    checked(w, "authorization", "Bearer " + provider.STRIPE_KEY,
            "stripe-version", "idempotency-key", "x-stripe-client-user-agent")
    assert client.v1.customers.retrieve("cus_1").email == "a@example.com"
    pdf = client.v1.quotes.pdf("qt_1")
    assert pdf.io.read() == provider.PDF


@step("sdks: what the gateway refuses is the SDKs' own kind of error, and is asked once")
def _(w):
    before = len(w.provider.seen)
    stranger = "hvs.AAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    ask = lambda key: openai.OpenAI(base_url=w.base + "/openai/v1", api_key=key).models.list()
    raises(openai.AuthenticationError, ask, stranger)
    raises(anthropic.AuthenticationError,
           anthropic.Anthropic(base_url=w.base + "/anthropic", api_key=stranger).messages.create,
           model="m", max_tokens=9, messages=QUESTION)
    base = w.base + "/stripe"
    bad = stripe.StripeClient(stranger, base_addresses={"api": base, "files": base})
    raises(stripe.AuthenticationError, bad.v1.customers.retrieve, "cus_1")
    assert len(w.provider.seen) == before, "a stranger's call reached the provider"
    # The provider rejects our key: neither the caller's 401 nor a reason to try again.
    w.client.secrets.kv.v2.patch("providers", {"openai": "sk-proj-a-key-that-was-revoked-0123456789"})
    try:
        ask(w.jwt)
        raise AssertionError("accepted")
    except openai.APIStatusError as e:
        assert not isinstance(e, openai.AuthenticationError) and "upstream_credential_rejected" in str(e.body), e
    assert len(w.provider.seen) == before + 1, "the SDK tried again"
    w.provider.close()
