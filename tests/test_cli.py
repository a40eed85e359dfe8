"""`ldm` says what is wrong in one line, and each command reaches what it names."""

import sys

import pytest

from engine.trajectory import Trajectory
from training import cli


@pytest.fixture
def ldm(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ldm", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as stop:
            return stop.code, capsys.readouterr()
        return 0, capsys.readouterr()

    return call


def test_without_a_command_it_lists_them(ldm):
    code, said = ldm()
    assert code == 0 and all(name in said.out for name in cli.COMMANDS)


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_explains_itself(ldm, command):
    code, said = ldm(command, "--help")
    assert code == 0 and f"usage: ldm {command}" in said.out


def test_an_unknown_command_or_option_fails_at_once(ldm):
    assert "no command 'tran'" in ldm("tran")[0]
    assert ldm("info", "x.h5", "--colour", "red")[0] == 2


def test_a_bad_file_is_one_line_not_a_traceback(ldm, tmp_path):
    (tmp_path / "notes.h5").write_text("not a trajectory")
    code, _ = ldm("info", tmp_path / "notes.h5")
    assert code.startswith("ldm info: ") and "\n" not in code


def test_flags_of_a_training_are_the_fields_of_its_recipe(ldm):
    _, said = ldm("train", "--recipe", "paper-no-sjsd", "--help")
    for flag in ("--loss.sjsd", "--autoencoder.latent", "--training.joint-steps", "--diffusion.beta-end"):
        assert flag in said.out
    assert "(default: 0.0)" in said.out.split("--loss.sjsd")[1][:200]


def test_rollout_writes_a_trajectory(ldm, tiny_emulator_folder, wave_file, tmp_path):
    out = tmp_path / "forecast.h5"
    flags = ("--frames", 4, "--members", 2, "--seed", 3, "--device", "cpu")
    code, said = ldm("rollout", "--model", tiny_emulator_folder, "--data", wave_file, "-o", out, *flags)
    assert code == 0 and "forecast.h5" in said.out
    assert (len(Trajectory(out)), Trajectory(out).members) == (4, 2)


def test_several_models_are_several_flags(ldm, tiny_emulator_folder, wave_file, tmp_path):
    models = ("--model", tiny_emulator_folder, "--model", tmp_path / "none")
    code, _ = ldm("evaluate", *models, "--data", wave_file, "-o", tmp_path / "judged")
    assert f"{tmp_path / 'none'} is no emulator" in code
