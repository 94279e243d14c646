"""aiocoap as a server: python server.py INTERFACE

Listens on port 5683 of every address, joins All CoAP Nodes (IPv4 and IPv6) on INTERFACE, prints `ready`, runs until killed.
Resources: /temp, /light (GET, PUT, observable), /blob (GET, PUT), /slow (a separate response after one second),
/.well-known/core.
"""

import asyncio
import os
import sys

# Only UDP: the other transports would claim ports of their own.
os.environ["AIOCOAP_SERVER_TRANSPORT"] = "udp6"

import aiocoap  # noqa: E402
from aiocoap import resource  # noqa: E402


class Temperature(resource.Resource):
    rt = "temperature"

    async def render_get(self, request):
        return aiocoap.Message(payload=b"21.5 C", content_format=0)


class Light(resource.ObservableResource):
    rt = "light"

    def __init__(self):
        super().__init__()
        self.state = b"off"

    async def render_get(self, request):
        return aiocoap.Message(payload=self.state, content_format=0)

    async def render_put(self, request):
        self.state = request.payload
        self.updated_state()
        return aiocoap.Message(code=aiocoap.CHANGED)


class Blob(resource.Resource):
    def __init__(self):
        super().__init__()
        self.state = b""

    async def render_get(self, request):
        return aiocoap.Message(payload=self.state, content_format=42)

    async def render_put(self, request):
        self.state = request.payload
        return aiocoap.Message(code=aiocoap.CHANGED)


class Slow(resource.Resource):
    async def render_get(self, request):
        # Longer than the time after which aiocoap acknowledges first and answers later.
        await asyncio.sleep(1)
        return aiocoap.Message(payload=b"at last", content_format=0)


async def main(interface):
    site = resource.Site()
    site.add_resource(["temp"], Temperature())
    site.add_resource(["light"], Light())
    site.add_resource(["blob"], Blob())
    site.add_resource(["slow"], Slow())
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader))
    await aiocoap.Context.create_server_context(site, bind=("::", None), multicast=[interface])
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


asyncio.run(main(sys.argv[1]))
