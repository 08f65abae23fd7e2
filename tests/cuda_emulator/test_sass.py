"""What is read from a disassembly, and that the table in the documentation names every kernel."""

from __future__ import annotations

import re

from tests.conftest import ROOT
from tests.cuda_emulator.nvrtc import Usage
from tests.cuda_emulator.sass import main_path, moved, parsed, resident_blocks
from vipnp.backends.cupy import kernels

SECTION = "## What the compiler made of it"

LISTING = """
        /*0000*/                   S2R R0, SR_TID.X ;
        /*0010*/               @P1 BRA `(.L_x_2) ;
.L_x_1:
        /*0020*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0030*/               @P0 BRA `(.L_x_3) ;
        /*0040*/                   FADD R4, R4, R5 ;
        /*0050*/                   FADD R4, R4, R6 ;
        /*0060*/                   BRA `(.L_x_4) ;
.L_x_3:
        /*0070*/                   FADD R4, R4, R7 ;
.L_x_4:
        /*0080*/                   STG.E.U16 desc[UR4][R2.64], R4 ;
        /*0090*/              @!P1 BRA `(.L_x_1) ;
.L_x_2:
        /*00a0*/                   EXIT ;
.L_x_5:
        /*00b0*/                   BRA `(.L_x_5);
        /*00c0*/                   NOP;
"""


def test_the_table_names_every_kernel() -> None:
    text = (ROOT / "docs" / "cuda.md").read_text()
    section = text.split(SECTION)[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(kernels.KERNELS)


def test_one_turn_of_a_loop_takes_one_of_two_ways_at_a_branch() -> None:
    path = main_path(parsed(LISTING.splitlines()))
    assert [each.code for each in path] == ["LDG.E.128", "BRA", "FADD", "FADD", "BRA", "STG.E.U16", "BRA"]
    assert (moved(path, "LDG"), moved(path, "STG")) == (16, 2)


def test_of_two_loops_the_longer_counts() -> None:
    short = """
.L_x_2:
.L_x_6:
        /*00a0*/                   NOP ;
        /*00b0*/               @P2 BRA `(.L_x_6) ;"""
    path = main_path(parsed(LISTING.replace(".L_x_2:", short).splitlines()))
    assert [each.code for each in path] == ["LDG.E.128", "BRA", "FADD", "FADD", "BRA", "STG.E.U16", "BRA"]


def test_without_a_loop_the_way_goes_through_the_whole_kernel() -> None:
    straight = LISTING.replace("@!P1 BRA `(.L_x_1)", "NOP")
    assert [each.code for each in main_path(parsed(straight.splitlines()))][::8] == ["S2R", "NOP"]


def test_a_multiprocessor_holds_what_its_registers_and_shared_memory_allow() -> None:
    assert resident_blocks(Usage(32, 0, 0), 256) == 8
    assert resident_blocks(Usage(136, 8192, 0), 128) == 3
    assert resident_blocks(Usage(16, 48 * 1024, 0), 128) == 4
    assert resident_blocks(Usage(16, 0, 0), 32) == 32
