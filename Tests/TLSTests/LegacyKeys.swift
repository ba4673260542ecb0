/// Keys that were made for the tests alone, encrypted with ciphers of OpenSSL's legacy provider; the password is `secret`.
enum LegacyKeys {
    /// Each with the name of its cipher.
    static let all = [
        (
            pem(
                "EC",
                """
                Proc-Type: 4,ENCRYPTED
                DEK-Info: DES-CBC,2307D4BB2D3FC225

                4OIcG05L0bq0lzcXhxGVwbLUXd2VayFN3RLQe13mrPoHCi9gkWlaakamW0ExjSFy
                JvQ3TtT53Lm7Iu61r9FFXFhR12Mjj/IDHfLKiPNWhn7KwbOO193p+C+mEeE8O0zZ
                vPNsU7lxB6+3wNreO5mIBF3Jyp2mewnBzGKUvLDRg6A=
                """), "DES-CBC"
        ),
        (
            pem(
                "ENCRYPTED",
                """
                MIGwMBsGCSqGSIb3DQEFAzAOBAiy97Fdr3VtiAICCAAEgZC/EngHGa2rAS8dc4vl
                rJ1aaZpBm4v54lvMkQU63viOA94+9hvQ3qoGUeLYHAkv2E1256rZCPv66qSdwjah
                WPkmoiDlBSbJITcezezHF9Nxwk3loaGM84unayg9Bodz8RxfCTF433f2RSIMqKT2
                YCLt6b/4vskGlPT/3MwtnZkbD8X0dQhg6Q4e2KA7BsNEXYs=
                """), "DES-CBC"
        ),
        (
            pem(
                "ENCRYPTED",
                """
                MIGxMBwGCiqGSIb3DQEMAQYwDgQI0dpWOCggGaACAggABIGQhL8wRfdo2j7AIV6g
                h7KzLhYcnsDS0UobL1LP3cihcW889QofgeWVra3snfxFPLTtN4Ga4o1d2kkQItfO
                SJ+suOm2QqrmmcL+e8HxyfaA9lEmRt76AvwKX7R5AyMNjgap6v343pIxQG2NmOty
                CZ3xwck1hi/ZqdQ3d6tCxNlHmIroTHdkCv9CiellssXad9/z
                """), "RC2-40-CBC"
        ),
        (
            pem(
                "ENCRYPTED",
                """
                MIHgMEsGCSqGSIb3DQEFDTA+MCkGCSqGSIb3DQEFDDAcBAjg1quWtwxThQICCAAw
                DAYIKoZIhvcNAgkFADARBgUrDgMCBwQIgZF+8IZElAwEgZCk81ZOefSlqS6iX5sj
                QbL7ixlKzy4umP1Gk3R41m0Ym/b0qmsE1ktHwfzZNo7vHEYUiHrc3CXPOvHX0rUB
                CXlceQxTD3rqxpqU3C7qidKEfIie0exj0u2eygkmYJuHdy7hp2A2TAvPrs9/5/0N
                mAFUnwHM5ECW4YMwlxA0sZ0OSoi+IX1N4WHcY6iMUyDLwWA=
                """), "DES-CBC"
        ),
    ]

    private static func pem(_ kind: String, _ lines: String) -> String {
        "-----BEGIN \(kind) \("PRIVATE") KEY-----\n\(lines)\n-----END \(kind) PRIVATE KEY-----\n"
    }
}
