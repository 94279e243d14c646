"""aiocoap with OSCORE and Group OSCORE.

python secured.py serve CONFIG INTERFACE                       prints `ready`, then `asked METHOD PATH in CONTEXT` for each request
python secured.py ask CONFIG FROM MODE get|put URI [PAYLOAD] [--non]
    FROM is the sequence number to go on with: a context lives in memory, and none may come twice;
    MODE is `group`, `pairwise:KID` (hexadecimal) or `pair`; prints `CODE PAYLOAD`, then `answered in CONTEXT`, or `failed ERROR`
CONTEXT is aiocoap's class: _GroupContextAspect (group mode), _PairwiseContextAspect (pairwise mode), FilesystemSecurityContext.

CONFIG is JSON, binary values in hexadecimal. A group: gid, secret, salt, aead, group, signature, agreement, manager, id, key,
credential, peers. aiocoap 0.4.17 has no file format for groups: the context is made by hand from its own classes. A pair: pair
(aiocoap's own settings.json) and, if there is one, sequence (its sequence.json).

/temp (GET: `21.5 C`) and /light (GET, PUT) are refused with 4.01 without protection.
"""

import asyncio
import json
import logging
import os
import sys
import tempfile

os.environ["AIOCOAP_SERVER_TRANSPORT"] = "udp6"
os.environ["AIOCOAP_CLIENT_TRANSPORT"] = "oscore:udp6"

import aiocoap  # noqa: E402
from aiocoap import error, oscore, resource  # noqa: E402
from aiocoap.credentials import CredentialsMap  # noqa: E402
from aiocoap.oscore_sitewrapper import OscoreSiteWrapper  # noqa: E402
from aiocoap.transports.oscore import OSCOREAddress  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402


def unhex(text):
    return bytes.fromhex(text)


def pair(config):
    # The lab has a /run of its own, which vanishes with it: a server is killed, and cannot tidy up.
    folder = tempfile.mkdtemp(prefix="aiocoap-pair-", dir="/run")
    for name in ("settings", "sequence"):
        value = config.get("pair" if name == "settings" else name)
        if value is not None:
            with open(os.path.join(folder, name + ".json"), "w") as file:
                json.dump(value, file)
    return oscore.FilesystemSecurityContext(folder)


def algorithms(config):
    """The signature algorithm, the key agreement, and the private key as they want it."""
    key = unhex(config["key"])
    if config["signature"] == "EdDSA":
        return oscore.Ed25519(), oscore.EcdhSsHkdf256(), key
    signature = oscore.ECDSA_SHA256_P256()
    # aiocoap has one class for both, with the number of ECDSA; another number is only given when the test says so.
    agreement = type("Agreement", (oscore.ECDSA_SHA256_P256,), {"value": config["agreement"]})()
    return signature, agreement, ec.derive_private_key(int.from_bytes(key, "big"), ec.SECP256R1())


def group(config):
    signature, agreement, key = algorithms(config)
    assert agreement.value == config["agreement"]
    return oscore.SimpleGroupContext(
        oscore.algorithms[config["aead"]],
        oscore.hashfunctions["sha256"],
        signature,
        oscore.algorithms[config["group"]],
        agreement,
        unhex(config["gid"]),
        unhex(config["secret"]),
        unhex(config["salt"]),
        unhex(config["id"]),
        key,
        unhex(config["credential"]),
        {unhex(kid): unhex(credential) for kid, credential in config["peers"].items()},
        unhex(config["manager"]),
    )


def context_of(config):
    return pair(config) if "pair" in config else group(config)


def name_of(remote):
    return type(remote.security_context).__name__


class Protected(resource.Resource):
    def __init__(self, name, state, writable):
        super().__init__()
        self.name = name
        self.state = state
        self.writable = writable

    def admit(self, request, method):
        if not isinstance(request.remote, OSCOREAddress):
            raise error.Unauthorized
        print("asked", method, self.name, "in", name_of(request.remote), flush=True)

    async def render_get(self, request):
        self.admit(request, "GET")
        return aiocoap.Message(payload=self.state, content_format=0)

    async def render_put(self, request):
        self.admit(request, "PUT")
        if not self.writable:
            raise error.MethodNotAllowed
        self.state = request.payload
        return aiocoap.Message(code=aiocoap.CHANGED)


async def serve(config, interface):
    site = resource.Site()
    site.add_resource(["temp"], Protected("temp", b"21.5 C", False))
    site.add_resource(["light"], Protected("light", b"off", True))
    credentials = CredentialsMap()
    credentials[":context"] = context_of(config)
    await aiocoap.Context.create_server_context(
        OscoreSiteWrapper(site, credentials), bind=("::", None), multicast=[interface], server_credentials=credentials
    )
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


async def ask(config, start, mode, method, uri, payload, non):
    # It warns of every request by multicast that its client takes one answer only.
    logging.disable(logging.WARNING)
    if "pair" in config:
        config["sequence"] = {"next-to-send": int(start), "received": {"index": 0, "bitfield": 0}}
    context = context_of(config)
    if "pair" not in config:
        context.sender_sequence_number = int(start)
    if mode.startswith("pairwise:"):
        context = context.pairwise_for(unhex(mode.split(":")[1]))
    client = await aiocoap.Context.create_client_context()
    client.client_credentials["coap://*"] = context
    code = {"get": aiocoap.GET, "put": aiocoap.PUT}[method]
    tuning = aiocoap.Unreliable if non else aiocoap.Reliable
    request = aiocoap.Message(code=code, uri=uri, payload=payload, transport_tuning=tuning)
    try:
        response = await asyncio.wait_for(client.request(request, handle_blockwise=False).response, 8)
    except Exception as problem:
        print("failed", type(problem).__name__, problem, flush=True)
        return False
    finally:
        await client.shutdown()
    print(response.code.dotted, response.payload.decode(errors="replace"))
    protected = isinstance(response.remote, OSCOREAddress)
    print("answered in", name_of(response.remote) if protected else "the clear", flush=True)
    return True


def main(arguments):
    non = "--non" in arguments
    role, config, *rest = [a for a in arguments if a != "--non"]
    config = json.loads(config)
    if role == "serve":
        return serve(config, *rest)
    start, mode, method, uri, *payload = rest
    return ask(config, start, mode, method, uri, payload[0].encode() if payload else b"", non)


sys.exit(0 if asyncio.run(main(sys.argv[1:])) else 1)
