"""URLs that an allow-list must not let through, each a way around one that is written carelessly."""

ALLOWED = (
    *("hooks.example.com", "*.wild.example", "ports.example:8443", "10.1.2.3", "[2001:db8::7]:8443"),
    "localhost:9",
)

_NOT_HTTPS = [
    *("http://hooks.example.com/", "ftp://hooks.example.com/", "file:///etc/passwd", "gopher://hooks.example.com/"),
    *("//hooks.example.com/", "hooks.example.com", "", "https:hooks.example.com", "https:/hooks.example.com"),
    *("javascript:alert(1)", "data:text/plain,x", "http\u017f://hooks.example.com/", " https://hooks.example.com/"),
    "unix:///var/run/docker.sock",
]

_OTHER_HOSTS = [
    *("https://example.com/", "https://evil.example/", "https://hooks.example.com.evil.example/"),
    *("https://evilhooks.example.com/", "https://hooks.example.comevil/", "https://wild.example/"),
    *("https://notwild.example/", "https://.wild.example/", "https://a..wild.example/", "https://hooks.example.com./"),
    *("https:///hooks.example.com", "https://", "https://:443/", "https://?hooks.example.com"),
]

_CONFUSED_PARSERS = [
    *(
        "https://user@hooks.example.com/",
        "https://user:pass@hooks.example.com/",
        "https://hooks.example.com@evil.example/",
    ),
    *("https://hooks.example.com:443@evil.example/", "https://evil.example#@hooks.example.com/"),
    *("https://evil.example\\@hooks.example.com/", "https://hooks.example.com\\.evil.example/"),
    *(
        "https://hooks.example.com\\@evil.example/",
        "https:\\\\hooks.example.com/",
        "https://evil.example?@hooks.example.com/",
    ),
    *("https://hooks.example.com%00.evil.example/", "https://hooks.example.com%2eevil.example/"),
    *("https://hooks.example.com /", "https://hooks.example.com\t/", "https://hooks.example.com\n/"),
    *(
        "https://hooks.example.com/\r\nHost: evil.example",
        "https://hooks.example.com/ HTTP/1.1",
        "https://hooks.example.com/\n",
    ),
    *("https://hooks.example.com/#fragment", "https://hooks。example。com/", "https://hook\u017f.example.com/"),
    *("https://hooks.example.com/\u00e9", "https://\uff4cocalhost:9/", "https://hooks.example.com/" + "a" * 2_048),
]

_PORTS = [
    *("https://hooks.example.com:80/", "https://hooks.example.com:8443/", "https://ports.example/"),
    *("https://ports.example:443/", "https://hooks.example.com:0/", "https://hooks.example.com:65979/"),
    *("https://hooks.example.com:/", "https://hooks.example.com:0443/", "https://hooks.example.com:4 43/"),
    *("https://hooks.example.com:-1/", "https://hooks.example.com:443:443/", "https://hooks.example.com:\uff11/"),
]

_NUMBERS = [
    *("https://127.0.0.1/", "https://2130706433/", "https://0x7f000001/", "https://017700000001/", "https://127.1/"),
    *("https://0177.0.0.1/", "https://0x7f.0.0.1/", "https://127.0.0.1./", "https://0/", "https://0.0.0.0/"),
    *("https://169.254.169.254/latest/meta-data/", "https://2852039166/", "https://0xA9FEA9FE/", "https://10.1.515/"),
    *(
        "https://012.1.2.3/",
        "https://10.1.2.3.wild.example.1/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
    ),
    *(
        "https://[::ffff:7f00:1]/",
        "https://[0:0:0:0:0:ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fd00:ec2::254]/",
    ),
    *("https://[2001:db8::7]/", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/", "https://[::ffff:10.1.2.3]/"),
    *("https://①②⑦.⓪.⓪.①/", "https://[v1.127.0.0.1]/", "https://[localhost]:9/", "https://x.0x/"),
]

HOSTILE_URLS = [*_NOT_HTTPS, *_OTHER_HOSTS, *_CONFUSED_PARSERS, *_PORTS, *_NUMBERS]
