import { generateKeyPairSync } from 'node:crypto';

/** A self-signed certificate for localhost, made for these tests and used nowhere else. */
export const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUTLKppqQHT9sMW4i6/LrGN4ZSosIwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzIxMTUyN1oYDzIxMjYxMDMw
MjExNTI3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARESK5m7ZQ94CFO6h9WaPmR3DXmXxyh86rs/pfauZraeei4q+GVUTYt
YaRHZaFXszfnhFD8f6Nk1kqQnsiwRUfSo28wbTAdBgNVHQ4EFgQUHbH55Lrf4UpG
0E/2MKaLr3QAbvwwHwYDVR0jBBgwFoAUHbH55Lrf4UpG0E/2MKaLr3QAbvwwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIgQvbHUwatbi/MZH6Xh8KwnZEFQy2PzL/RmqRTu63GWv8CIQC0
3si/KLZUyTDgQTwN7q3En+9RDyHwPRPe6DCNgQ8rxw==
-----END CERTIFICATE-----
`;

/** The private key of CERTIFICATE. */
export const PRIVATE_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg49Lf/u3mjN8r1aXo
pJC0WenewrTJaEmkVH0O7dzUCYKhRANCAARESK5m7ZQ94CFO6h9WaPmR3DXmXxyh
86rs/pfauZraeei4q+GVUTYtYaRHZaFXszfnhFD8f6Nk1kqQnsiwRUfS
-----END PRIVATE KEY-----
`;

/** A private key that belongs to no certificate. */
export const OTHER_KEY = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
}).privateKey;
