class DockerRd < Formula
  desc "{{.Summary}}"
  homepage "{{.Homepage}}"
  version "{{.Version}}"
  license "{{.License}}"

  on_macos do
    on_arm do
      url "{{.URL}}/{{.Archives.darwin_arm64.Name}}"
      sha256 "{{.Archives.darwin_arm64.SHA256}}"
    end
    on_intel do
      url "{{.URL}}/{{.Archives.darwin_amd64.Name}}"
      sha256 "{{.Archives.darwin_amd64.SHA256}}"
    end
  end
  on_linux do
    on_arm do
      url "{{.URL}}/{{.Archives.linux_arm64.Name}}"
      sha256 "{{.Archives.linux_arm64.SHA256}}"
    end
    on_intel do
      url "{{.URL}}/{{.Archives.linux_amd64.Name}}"
      sha256 "{{.Archives.linux_amd64.SHA256}}"
    end
  end

  def install
    libexec.install Dir["docker-rd*"].select { |path| File.file?(path) }
    bin.install_symlink libexec/"docker-rd"
    (lib/"docker/cli-plugins").install_symlink libexec/"docker-rd"
    bash_completion.install "completions/docker-rd"
    zsh_completion.install "completions/_docker-rd"
    fish_completion.install "completions/docker-rd.fish"
    man1.install Dir["man/*.1"]
  end

  def caveats
    <<~EOS
      docker finds its plugin once ~/.docker/config.json has:
        "cliPluginsExtraDirs": ["#{HOMEBREW_PREFIX}/lib/docker/cli-plugins"]
    EOS
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/docker-rd version")
  end
end
