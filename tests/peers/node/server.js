// node-coap as a server: node server.js INTERFACE IPV4-ADDRESS
//
// Listens on port 5683 of every address, joins All CoAP Nodes (IPv4 and IPv6) on INTERFACE, prints `ready`, runs until
// killed. Resources: /temp, /light (GET, PUT, observable), /blob (GET, PUT), /slow (a separate response after one second),
// /.well-known/core.
'use strict'
const coap = require('coap')
const dgram = require('dgram')

const [, , name, address] = process.argv
let light = 'off'
let blob = Buffer.alloc(0)
const observers = new Set()

function answer (request, response) {
  const path = request.url.split('?')[0]
  const text = (value) => {
    response.setOption('Content-Format', 'text/plain')
    response.end(value)
  }
  if (path === '/.well-known/core') {
    response.setOption('Content-Format', 'application/link-format')
    return response.end('</temp>;rt="temperature",</light>;rt="light",</blob>,</slow>')
  }
  if (path === '/temp' && request.method === 'GET') return text('21.5 C')
  if (path === '/slow' && request.method === 'GET') return setTimeout(() => text('at last'), 1000)
  // With Observe 0 the response is a stream of notifications; it finishes when one of them is reset or not acknowledged.
  if (path === '/light' && request.method === 'GET' && request.headers.Observe === 0) {
    observers.add(response)
    response.on('finish', () => observers.delete(response))
    response.setOption('Content-Format', 'text/plain')
    return response.write(light)
  }
  if (path === '/light' && request.method === 'GET') return text(light)
  if (path === '/light' && request.method === 'PUT') {
    light = request.payload.toString()
    for (const observer of observers) observer.write(light)
    response.code = '2.04'
    return response.end()
  }
  if (path === '/blob' && request.method === 'GET') {
    response.setOption('Content-Format', 'application/octet-stream')
    return response.end(blob)
  }
  if (path === '/blob' && request.method === 'PUT') {
    blob = request.payload
    response.code = '2.04'
    return response.end()
  }
  response.code = ['/temp', '/slow', '/light', '/blob'].includes(path) ? '4.05' : '4.04'
  response.end()
}

// One socket for each family; node-coap's own would join one group only.
function listen (type, any, groups, done) {
  const socket = dgram.createSocket({ type, reuseAddr: true, ipv6Only: type === 'udp6' })
  socket.bind(5683, any, () => {
    for (const [group, on] of groups) socket.addMembership(group, on)
    coap.createServer({ type }, answer).listen(socket, done)
  })
}

listen('udp4', '0.0.0.0', [['224.0.1.187', address]], () => {
  const on = `::%${name}`
  listen('udp6', '::', [['ff02::fd', on], ['ff05::fd', on]], () => console.log('ready'))
})
