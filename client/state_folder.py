"""What lies in a hospital's state folder: the names of what more than one part of its side looks for.

site_key.pem         private: Ed25519, signs the ledger, the log and what is sent
ledger.sqlite3       what was spent of its patients' privacy
log                  its audit log, begun when it joined
request.json         public: what was sent to the coordinating centre
admission.json       public: the consortium's answer, and so the mark of a member
consortium.crt       public: the roots of the answer, for TLS
"""

KEY_FILE = "site_key.pem"
LEDGER_FILE = "ledger.sqlite3"
LOG_FOLDER = "log"
REQUEST_FILE = "request.json"
ADMISSION_FILE = "admission.json"
ROOTS_FILE = "consortium.crt"
