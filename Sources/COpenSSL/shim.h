#ifndef COPENSSL_SHIM_H
#define COPENSSL_SHIM_H
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

// Function-like macros, and constants that are built with SSL_OP_BIT, are not visible in Swift. Each has a function here.

static inline uint64_t copenssl_op_no_renegotiation(void) { return SSL_OP_NO_RENEGOTIATION; }
static inline uint64_t copenssl_op_no_compression(void) { return SSL_OP_NO_COMPRESSION; }
static inline uint64_t copenssl_op_cipher_server_preference(void) { return SSL_OP_CIPHER_SERVER_PREFERENCE; }
static inline uint64_t copenssl_op_prioritize_chacha(void) { return SSL_OP_PRIORITIZE_CHACHA; }

static inline int copenssl_ctx_set_min_proto_version(SSL_CTX *ctx, int version) { return (int)SSL_CTX_set_min_proto_version(ctx, version); }
static inline int copenssl_ctx_set_max_proto_version(SSL_CTX *ctx, int version) { return (int)SSL_CTX_set_max_proto_version(ctx, version); }
static inline void copenssl_ctx_set_mode(SSL_CTX *ctx, long mode) { (void)SSL_CTX_set_mode(ctx, mode); }
static inline void copenssl_ctx_set_session_cache_mode(SSL_CTX *ctx, long mode) { (void)SSL_CTX_set_session_cache_mode(ctx, mode); }
static inline int copenssl_ctx_set1_groups_list(SSL_CTX *ctx, const char *groups) { return (int)SSL_CTX_set1_groups_list(ctx, groups); }
static inline int copenssl_ctx_set1_sigalgs_list(SSL_CTX *ctx, const char *names) { return (int)SSL_CTX_set1_sigalgs_list(ctx, names); }
static inline int copenssl_ctx_add1_chain_cert(SSL_CTX *ctx, X509 *certificate) { return (int)SSL_CTX_add1_chain_cert(ctx, certificate); }
static inline void copenssl_ctx_set_dh_auto(SSL_CTX *ctx) { (void)SSL_CTX_set_dh_auto(ctx, 1); }
static inline int copenssl_set_tlsext_host_name(SSL *ssl, const char *name) { return (int)SSL_set_tlsext_host_name(ssl, name); }
static inline unsigned long copenssl_name_flags_rfc2253(void) { return XN_FLAG_RFC2253; }

static inline void copenssl_ctx_set_max_cert_list(SSL_CTX *ctx, long bytes) { (void)SSL_CTX_set_max_cert_list(ctx, bytes); }
// The number of groups that the client named, and of those that the server has too.
static inline int copenssl_peer_groups(SSL *ssl) { return (int)SSL_get1_groups(ssl, NULL); }
static inline int copenssl_shared_groups(SSL *ssl) { return (int)SSL_get_shared_group(ssl, -1); }

// The cipher that an encrypted key in PKCS #8 form (RFC 5958) is encrypted with, or NID_undef.
static inline int copenssl_pkcs8_cipher(const unsigned char *der, size_t length) {
    X509_SIG *key = d2i_X509_SIG(NULL, &der, (long)length);
    if (key == NULL) return NID_undef;
    const X509_ALGOR *algorithm = NULL;
    X509_SIG_get0(key, &algorithm, NULL);
    const ASN1_OBJECT *scheme = NULL;
    int type = 0;
    const void *parameters = NULL;
    X509_ALGOR_get0(&scheme, &type, &parameters, algorithm);
    int cipher = NID_undef;
    if (OBJ_obj2nid(scheme) != NID_pbes2) {
        if (!EVP_PBE_find(EVP_PBE_TYPE_OUTER, OBJ_obj2nid(scheme), &cipher, NULL, NULL)) cipher = NID_undef;
    } else if (type == V_ASN1_SEQUENCE) {
        PBE2PARAM *pbes2 = (PBE2PARAM *)ASN1_item_unpack((const ASN1_STRING *)parameters, ASN1_ITEM_rptr(PBE2PARAM));
        if (pbes2 != NULL) {
            const ASN1_OBJECT *encryption = NULL;
            X509_ALGOR_get0(&encryption, NULL, NULL, pbes2->encryption);
            cipher = OBJ_obj2nid(encryption);
            PBE2PARAM_free(pbes2);
        }
    }
    X509_SIG_free(key);
    return cipher;
}

// OSSL_PARAM arrays are awkward to build from Swift.
static inline int copenssl_init_hmac_sha256(EVP_MAC_CTX *mac, const unsigned char *key, size_t length) {
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key, length),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, parameters);
}

// GENERAL_NAME is a C union: these read the kinds of name that TLS peers are checked for, or give NULL.

static inline const ASN1_STRING *copenssl_general_name_dns(const GENERAL_NAME *name) {
    return name->type == GEN_DNS ? name->d.dNSName : NULL;
}
static inline const ASN1_STRING *copenssl_general_name_ip(const GENERAL_NAME *name) {
    return name->type == GEN_IPADD ? name->d.iPAddress : NULL;
}
static inline const ASN1_STRING *copenssl_general_name_email(const GENERAL_NAME *name) {
    return name->type == GEN_EMAIL ? name->d.rfc822Name : NULL;
}
static inline const ASN1_STRING *copenssl_general_name_uri(const GENERAL_NAME *name) {
    return name->type == GEN_URI ? name->d.uniformResourceIdentifier : NULL;
}
#endif
